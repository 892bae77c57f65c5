import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { Option } from 'commander';
import { parse } from 'yaml';
import type { z } from 'zod';
import type { ConfigObject, ConfigSource } from '../base/config_schema.js';
import {
  ConfigError,
  configKeys,
  environmentValues,
  fileValues,
  parseConfigString,
  resolveConfig,
} from '../base/config_schema.js';

/**
 * Loads a server's configuration (src/base/config_schema.ts says how keys are spelled) from flags, the
 * environment and a YAML file. The file is named by --config or PREFIX_CONFIG.
 */

/** Adds --config and one option per key of the schema to a command. */
export function addConfigFlags(command: Command, schema: ConfigObject): void {
  command.option('--config <file>', 'YAML file to read');
  for (const key of configKeys(schema)) {
    const value = { string: '<text>', number: '<number>', boolean: '[bool]', list: '<a,b>', map: '<k=v,k=v>' }[
      key.kind
    ];
    command.addOption(new Option(`--${key.flag} ${value}`, key.description));
  }
}

export interface LoadConfigOptions<S extends ConfigObject> {
  readonly schema: S;
  /** With its last underscore: `SKERRY_STORE_`. */
  readonly environmentPrefix: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** command.opts() of a command that addConfigFlags() prepared; keys that the schema does not have are left alone. */
  readonly flags: Readonly<Record<string, unknown>>;
}

/** Throws ConfigError with every problem found in the first source that has one. */
export function loadConfig<S extends ConfigObject>(options: LoadConfigOptions<S>): z.output<S> {
  const keys = configKeys(options.schema);
  const flags = new Map<string, unknown>();
  for (const key of keys) {
    const given = options.flags[camelCase(key.flag)];
    if (given !== undefined)
      flags.set(key.name, typeof given === 'string' ? parseConfigString(key.kind, given) : given);
  }
  const configVariable = `${options.environmentPrefix}CONFIG`;
  const environment = environmentValues(keys, options.environmentPrefix, options.environment, [configVariable]);
  const fileName = options.flags['config'] ?? options.environment[configVariable];
  const sources: ConfigSource[] = [
    { values: flags, describe: (name) => `--${keys.find((key) => key.name === name)?.flag ?? name}` },
    {
      values: environment,
      describe: (name) => options.environmentPrefix + (keys.find((key) => key.name === name)?.environment ?? name),
    },
  ];
  if (typeof fileName === 'string' && fileName !== '') {
    sources.push({ values: fileValues(keys, readYaml(fileName), fileName), describe: () => fileName });
  }
  return resolveConfig(options.schema, sources);
}

function readYaml(fileName: string): unknown {
  try {
    return parse(readFileSync(fileName, 'utf8')) as unknown;
  } catch (error) {
    throw new ConfigError([`cannot read the configuration file ${fileName}: ${(error as Error).message}`]);
  }
}

function camelCase(flag: string): string {
  return flag.replace(/-([a-z0-9])/g, (_, c: string) => c.toUpperCase());
}
