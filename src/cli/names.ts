/** The name of a generated enum's value, in lower case as people write it: INCOMING_VOTER is incoming-voter. */
export function nameOfValue(values: Readonly<Record<string, number>>, value: number): string {
  const name = Object.keys(values).find((key) => values[key] === value);
  return name === undefined ? `unknown-${value}` : name.toLowerCase().replaceAll('_', '-');
}
