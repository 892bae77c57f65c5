import { register } from 'node:module';
import { must } from '../../src/base/assert.js';
import { findMutant } from './mutants.js';

// Preloaded (`node --import`) by main.ts, with the mutant's name in the environment.
const name = process.env['SKERRY_SIM_MUTANT'] ?? '';
register('./mutant_hook.js', import.meta.url, { data: must(findMutant(name), `a mutant named ${name}`) });
