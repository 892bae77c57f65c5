// The lint walls of the design: which folders are pure, and which way imports may point.
import tseslint from 'typescript-eslint';

const pureFolders = [
  'src/base/**',
  'src/raft/**',
  'src/wire/**',
  'placement/state/**',
  'placement/checkers/**',
  'placement/schedulers/**',
];
/** Files in pure folders that are the boundary itself. */
const boundaryFiles = ['src/base/node_runtime.ts'];

const noIo = [
  {
    selector:
      'AwaitExpression, FunctionDeclaration[async=true], FunctionExpression[async=true], ArrowFunctionExpression[async=true]',
    message: 'Pure folders are synchronous.',
  },
  { selector: "MemberExpression[object.name='Math'][property.name='random']", message: 'Randomness is passed in.' },
  { selector: "MemberExpression[object.name='Date'][property.name='now']", message: 'Time is passed in.' },
  { selector: "NewExpression[callee.name='Date']", message: 'Time is passed in.' },
];
const noGlobals = [
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'process',
  'performance',
  'fetch',
  'console',
].map((name) => ({
  name,
  message: 'Pure folders have no I/O, clock or scheduler of their own.',
}));

/** Imports that point up or sideways, by folder. */
function wall(folder, forbidden) {
  return {
    files: [`${folder}/**/*.ts`],
    ignores: boundaryFiles,
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: forbidden.map((name) => ({
            regex: name,
            message: `${folder} must not import this (ARCHITECTURE.md, "Walls").`,
          })),
        },
      ],
    },
  };
}
const up = (...names) => names.map((name) => `(^|/)${name}/`);
const native = ['^@nxtedition/rocksdb', '^rocksdb$'];
const io = ['^node:', '^@grpc/', '^pino', '^prom-client', ...native];

export default tseslint.config(
  { ignores: ['dist/**', '.build/**', '.tap/**', 'node_modules/**', 'src/gen/**', 'bench-results/**'] },
  ...tseslint.configs.strictTypeChecked.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      'no-restricted-globals': ['error', ...noGlobals.filter((g) => g.name === 'console')],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidOperator: true },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/unified-signatures': 'off',
      'max-lines': ['error', { max: 600, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 90, skipBlankLines: true, skipComments: true }],
      eqeqeq: 'error',
    },
  },
  {
    files: pureFolders.map((folder) => `${folder}/*.ts`),
    ignores: boundaryFiles,
    rules: { 'no-restricted-syntax': ['error', ...noIo], 'no-restricted-globals': ['error', ...noGlobals] },
  },
  wall('src/base', [
    ...io,
    ...up('raft', 'raftlog', 'engine', 'transport', 'multiraft', 'client', 'cli', 'store', 'placement', 'wire'),
  ]),
  wall('src/raft', [
    ...io,
    ...up('raftlog', 'engine', 'transport', 'multiraft', 'client', 'cli', 'store', 'placement', 'gen', 'wire'),
  ]),
  wall('src/wire', [...io, ...up('raftlog', 'engine', 'transport', 'client', 'cli', 'store', 'placement')]),
  wall('src/rpc', [
    ...native,
    ...up('raft', 'raftlog', 'engine', 'transport', 'multiraft', 'client', 'cli', 'store', 'placement', 'wire'),
  ]),
  wall('src/raftlog', [
    '^@grpc/',
    ...native,
    ...up('engine', 'transport', 'multiraft', 'client', 'cli', 'store', 'placement'),
  ]),
  wall('src/engine', [
    '^@grpc/',
    ...up('raft', 'raftlog', 'transport', 'multiraft', 'client', 'cli', 'store', 'placement'),
  ]),
  wall('src/transport', [...native, ...up('raftlog', 'engine', 'client', 'cli', 'store', 'placement')]),
  wall('src/multiraft', ['^@grpc/', ...native, ...up('client', 'cli', 'store', 'placement')]),
  wall('src/client', [
    '^@grpc/',
    ...native,
    ...up('raft', 'raftlog', 'engine', 'multiraft', 'cli', 'store', 'placement'),
  ]),
  wall('src/cli', [...native, ...up('raft', 'engine', 'multiraft', 'placement/state')]),
  wall('store', ['^@nxtedition/rocksdb', ...up('client', 'cli', 'placement/state')]),
  wall('placement', ['^@nxtedition/rocksdb', ...up('client', 'cli', 'store')]),
  {
    files: ['placement/state/**/*.ts', 'placement/checkers/**/*.ts', 'placement/schedulers/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: io.map((name) => ({ regex: name, message: 'Placement decisions are pure.' })) },
      ],
    },
  },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts', 'src/cli/**/*.ts'],
    rules: {
      // A tap test is async for its promise of an end, whether or not it waits; tap itself awaits what t.test returns, which the type does not tell.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-floating-promises': 'off',
      'no-restricted-globals': 'off',
      'max-lines-per-function': ['error', { max: 250, skipBlankLines: true, skipComments: true }],
    },
  },
);
