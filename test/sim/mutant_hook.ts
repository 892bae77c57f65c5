import { must } from '../../src/base/assert.js';
import type { SimMutant } from './mutants.js';

/*
 * A loader hook (node:module register) that changes one compiled file as it is loaded. The file on disk stays as it is.
 */

interface Loaded {
  readonly format: string;
  readonly source?: string | Buffer | null;
}
type NextLoad = (url: string, context: object) => Promise<Loaded>;

let planted: SimMutant | null = null;

export function initialize(mutant: SimMutant): void {
  planted = mutant;
}

export async function load(url: string, context: object, nextLoad: NextLoad): Promise<Loaded> {
  const loaded = await nextLoad(url, context);
  const mutant = must(planted, 'a mutant');
  if (!url.endsWith(`/dist/${mutant.file}`)) return loaded;
  const source = String(loaded.source);
  const places = source.split(mutant.find).length - 1;
  if (places !== 1) throw new Error(`mutant ${mutant.name}: its text occurs ${places} times in ${mutant.file}`);
  return { ...loaded, source: source.replace(mutant.find, () => mutant.replace) };
}
