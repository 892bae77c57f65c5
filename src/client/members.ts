import { invalidArgument } from './errors.js';
import { placementMembersMax } from './limits.js';

/** Placement members as people write them: a list, or one string with commas. @throws SkerryError INVALID_ARGUMENT */
export function placementAddressesOf(placement: readonly string[] | string): string[] {
  const parts = typeof placement === 'string' ? placement.split(',') : [...placement];
  const addresses = parts.map((p) => p.trim()).filter((p) => p !== '');
  if (addresses.length === 0) {
    throw invalidArgument('placement', 'EMPTY', 'name at least one placement member as host:port');
  }
  if (addresses.length > placementMembersMax) {
    throw invalidArgument('placement', 'TOO_MANY', `at most ${placementMembersMax} placement members`);
  }
  for (const address of addresses) {
    const port = Number(/^(?:[^\s:/]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})$/.exec(address)?.[1] ?? 0);
    if (port < 1 || port > 65_535) {
      throw invalidArgument('placement', 'NOT_AN_ADDRESS', `"${address}" is not host:port`);
    }
  }
  return addresses;
}
