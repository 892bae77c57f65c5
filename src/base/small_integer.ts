/**
 * The same number, as V8's small integer where it fits one.
 *
 * A number that comes out of a Float64Array, out of readDoubleBE, or out of arithmetic past 32 bits is a boxed float even when it is 3. The
 * first such term or id that is stored in a field gives all objects of that shape another hidden class: what was compiled for the
 * old one is thrown away, and every object made in the old one is migrated when it is first read. Whatever reads terms, ids and
 * indexes from bytes passes them through here.
 */
export function smallInteger(value: number): number {
  const small = value | 0;
  return small === value ? small : value;
}
