/** Bytes that are not what they should be. The only error that a decoder of this folder throws. */
export class WireError extends Error {
  override readonly name = 'WireError';
}
