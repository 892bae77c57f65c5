import { parseArgs } from 'node:util';

/** Something that the caller of a benchmark got wrong; shown without a stack. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** One option of a workload. Every option takes a value, and has one when it is not given. */
export type OptionSpec =
  | {
      readonly kind: 'integer';
      readonly about: string;
      readonly default: number;
      readonly min: number;
      readonly max: number;
    }
  | {
      readonly kind: 'number';
      readonly about: string;
      readonly default: number;
      readonly min: number;
      readonly max: number;
    }
  | { readonly kind: 'integers'; readonly about: string; readonly default: string; readonly max: number }
  | { readonly kind: 'text'; readonly about: string; readonly default: string; readonly among?: readonly string[] };

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

type ValueOf<S extends OptionSpec> = S['kind'] extends 'integer' | 'number'
  ? number
  : S['kind'] extends 'integers'
    ? readonly number[]
    : string;

export type OptionsOf<S extends OptionSpecs> = { readonly [K in keyof S]: ValueOf<S[K]> };

/** Reads `--name value` for each option of `specs`. @throws UsageError that names what is wrong */
export function readOptions<const S extends OptionSpecs>(args: readonly string[], specs: S): OptionsOf<S> {
  const given = parse(args, specs);
  const values: Record<string, number | string | readonly number[]> = {};
  for (const [name, spec] of Object.entries<OptionSpec>(specs)) values[name] = valueOf(name, spec, given[name]);
  return values as OptionsOf<S>;
}

function parse(args: readonly string[], specs: OptionSpecs): Readonly<Record<string, string | undefined>> {
  const options = Object.fromEntries(Object.keys(specs).map((name) => [name, { type: 'string' as const }]));
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    const usage = error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
    if (!usage) throw error;
    throw new UsageError(`${error.message}\n\noptions:\n${describeOptions(specs)}`);
  }
}

function valueOf(name: string, spec: OptionSpec, text: string | undefined): number | string | readonly number[] {
  switch (spec.kind) {
    case 'text': {
      const value = text ?? spec.default;
      if (spec.among !== undefined && !spec.among.includes(value)) {
        throw new UsageError(`--${name} is one of ${spec.among.join(', ')}, not ${JSON.stringify(value)}`);
      }
      return value;
    }
    case 'integers': {
      const parts = (text ?? spec.default).split(',').filter((part) => part !== '');
      return parts.map((part) => numberOf(name, part, { ...spec, min: 1 }, true));
    }
    case 'integer':
    case 'number':
      return text === undefined ? spec.default : numberOf(name, text, spec, spec.kind === 'integer');
  }
}

function numberOf(name: string, text: string, range: { min: number; max: number }, whole: boolean): number {
  const value = text.trim() === '' ? NaN : Number(text);
  const fits = value >= range.min && value <= range.max && (!whole || Number.isInteger(value));
  if (fits) return value;
  const kind = whole ? 'a whole number' : 'a number';
  throw new UsageError(`--${name} is ${kind} from ${range.min} to ${range.max}, not ${JSON.stringify(text)}`);
}

/** One line per option, for --help and for what follows a mistake. */
export function describeOptions(specs: OptionSpecs): string {
  return Object.entries(specs)
    .map(
      ([name, spec]) =>
        `  --${name.padEnd(14)} ${spec.about} (default: ${spec.default === '' ? 'none' : spec.default})`,
    )
    .join('\n');
}
