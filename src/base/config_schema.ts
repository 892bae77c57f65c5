import { z } from 'zod';
import { nearest } from './config_nearest.js';

/**
 * Server configuration. A schema is a zod object with camelCase names, at most one level of sections:
 *
 *   z.object({ dataDir: z.string(), raft: z.object({ tickMs: z.number().default(100) }).prefault({}) })
 *
 * One key has three spellings: `raft.tick_ms` in the YAML file (a section `raft` with `tick_ms`),
 * `PREFIX_RAFT_TICK_MS` in the environment, `--raft-tick-ms` as a flag. Flag over environment over
 * file over default. Lists are written `a,b` and maps `k=v,k2=v2` where only a string is possible.
 * An unknown key is refused, with the nearest known one named.
 */
export type ConfigObject = z.ZodObject;

export type ConfigKind = 'string' | 'number' | 'boolean' | 'list' | 'map';

export interface ConfigKey {
  /** Property names in the schema, outermost first. */
  readonly path: readonly string[];
  /** As in the file: `raft.tick_ms`. */
  readonly name: string;
  /** As in the environment, without the prefix: `RAFT_TICK_MS`. */
  readonly environment: string;
  /** Without the dashes: `raft-tick-ms`. */
  readonly flag: string;
  readonly kind: ConfigKind;
  readonly description: string;
}

/** A configuration that cannot be used. Every problem is a line of its own. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** What one source says: key name (`raft.tick_ms`) to value, and how to name the source in a problem. */
export interface ConfigSource {
  readonly values: ReadonlyMap<string, unknown>;
  describe(key: string): string;
}

interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly anyOf?: readonly JsonSchema[];
}

/** Every key of a schema, in the schema's order. */
export function configKeys(schema: ConfigObject): ConfigKey[] {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  return keysOf(json, []);
}

function keysOf(schema: JsonSchema, path: readonly string[]): ConfigKey[] {
  const keys: ConfigKey[] = [];
  for (const [property, child] of Object.entries(schema.properties ?? {})) {
    const childPath = [...path, property];
    if (child.properties !== undefined) {
      keys.push(...keysOf(child, childPath));
      continue;
    }
    const words = childPath.map(snakeCase);
    keys.push({
      path: childPath,
      name: words.join('.'),
      environment: words.join('_').toUpperCase(),
      flag: words.join('-').replaceAll('_', '-'),
      kind: kindOf(child),
      description: child.description ?? '',
    });
  }
  return keys;
}

function kindOf(schema: JsonSchema): ConfigKind {
  const types = [schema.type, ...(schema.anyOf ?? []).map((s) => s.type)];
  if (types.includes('array')) return 'list';
  if (types.includes('object')) return 'map';
  if (types.includes('boolean')) return 'boolean';
  if (types.includes('number') || types.includes('integer')) return 'number';
  return 'string';
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}

/** The value of a string from a flag or the environment; what does not fit is left to the schema to refuse. */
export function parseConfigString(kind: ConfigKind, text: string): unknown {
  switch (kind) {
    case 'string':
      return text;
    case 'number':
      return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text);
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'list':
      return splitList(text);
    case 'map':
      return Object.fromEntries(
        splitList(text).map((pair) => {
          const at = pair.indexOf('=');
          return at === -1 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
        }),
      );
  }
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** Values of a parsed file by key name. Throws ConfigError on an unknown key or a section that is no mapping. */
export function fileValues(keys: readonly ConfigKey[], content: unknown, fileName: string): Map<string, unknown> {
  const values = new Map<string, unknown>();
  if (content === null || content === undefined) return values;
  const known = new Set(keys.map((key) => key.name));
  const sections = new Set(keys.filter((key) => key.path.length > 1).map((key) => sectionOf(key.name)));
  const problems: string[] = [];
  const visit = (node: unknown, prefix: string): void => {
    if (typeof node !== 'object' || node === null || Array.isArray(node)) {
      problems.push(`${fileName}: ${prefix === '' ? 'the file' : prefix} must be a mapping of keys to values`);
      return;
    }
    for (const [property, value] of Object.entries(node)) {
      const name = prefix === '' ? property : `${prefix}.${property}`;
      if (known.has(name)) values.set(name, value);
      else if (prefix === '' && sections.has(name)) visit(value, name);
      else problems.push(`${fileName}: ${unknownKey(name, [...known])}`);
    }
  };
  visit(content, '');
  if (problems.length > 0) throw new ConfigError(problems);
  return values;
}

function sectionOf(name: string): string {
  return name.slice(0, name.indexOf('.'));
}

/** Values of environment variables that begin with the prefix. Throws ConfigError on an unknown one. */
export function environmentValues(
  keys: readonly ConfigKey[],
  prefix: string,
  environment: Readonly<Record<string, string | undefined>>,
  ignored: readonly string[] = [],
): Map<string, unknown> {
  const byVariable = new Map(keys.map((key) => [prefix + key.environment, key]));
  const values = new Map<string, unknown>();
  const problems: string[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith(prefix) || text === undefined || ignored.includes(variable)) continue;
    const key = byVariable.get(variable);
    if (key === undefined) problems.push(`environment: ${unknownKey(variable, [...byVariable.keys()])}`);
    else values.set(key.name, parseConfigString(key.kind, text));
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return values;
}

function unknownKey(name: string, known: readonly string[]): string {
  const guess = nearest(name, known);
  return `unknown key ${name}${guess === null ? '' : `; did you mean ${guess}?`}`;
}

/** Overlays the sources (first wins) and validates. Throws ConfigError that names each key and where its value came from. */
export function resolveConfig<S extends ConfigObject>(schema: S, sources: readonly ConfigSource[]): z.output<S> {
  const keys = configKeys(schema);
  const input: Record<string, unknown> = {};
  const origin = new Map<string, string>();
  for (const key of keys) {
    const source = sources.find((s) => s.values.has(key.name));
    if (source === undefined) continue;
    origin.set(key.name, source.describe(key.name));
    put(input, key.path, source.values.get(key.name));
  }
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new ConfigError(
    parsed.error.issues.map((issue) => {
      const name = issue.path.map((part) => (typeof part === 'string' ? snakeCase(part) : String(part))).join('.');
      const from = [...origin].find(([key]) => name === key || name.startsWith(`${key}.`))?.[1];
      const missing = from === undefined && issue.code === 'invalid_type' && issue.input === undefined;
      if (missing) return `${name}: is required; ${spellings(keys, name)}`;
      return `${name}: ${issue.message}${from === undefined ? '' : ` (from ${from})`}`;
    }),
  );
}

function spellings(keys: readonly ConfigKey[], name: string): string {
  const key = keys.find((k) => k.name === name);
  return key === undefined ? 'set it in the file' : `give --${key.flag} or set it in the file`;
}

function put(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let at = target;
  for (const part of path.slice(0, -1)) {
    const next = at[part];
    if (typeof next === 'object' && next !== null) {
      at = next as Record<string, unknown>;
    } else {
      const made: Record<string, unknown> = {};
      at[part] = made;
      at = made;
    }
  }
  at[path.at(-1) ?? ''] = value;
}
