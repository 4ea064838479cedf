// Lint: the recommended rules, and for src/ the rule of the core: no clock, no randomness, no Node (design: "The core").
import tseslint from 'typescript-eslint';

const message = 'src/ knows no clock, no randomness, no Node, and nothing that differs between machines or happens later';

/** Clock, randomness, Node, asynchrony, locale, garbage collection, and ways around this list. */
const outside = [
  ...['Date', 'performance', 'crypto', 'process', 'Buffer', 'console', 'fetch', 'require', 'module', 'TextEncoder', 'TextDecoder'],
  ...['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'Promise', 'Intl', 'WeakRef', 'FinalizationRegistry'],
  ...['globalThis', 'global', 'eval', 'Function'],
];

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', 'reports/out/', 'node_modules/'] },
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts'],
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-non-null-assertion': 'off',
      'no-constant-condition': ['error', { checkLoops: false }],
      eqeqeq: ['error', 'always'],
      'prefer-const': 'error',
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-restricted-globals': ['error', ...outside.map((name) => ({ name, message }))],
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'randomness comes through Environment' },
        ...['localeCompare', 'toLocaleString', 'toLocaleUpperCase', 'toLocaleLowerCase'].map((property) => ({ property, message })),
      ],
      'no-restricted-imports': ['error', { patterns: [{ regex: '^(?!\\.|@noble/hashes/)', message: 'the core imports only the core, and functions of their arguments alone' }] }],
      'no-restricted-syntax': [
        'error',
        { selector: 'CallExpression[callee.property.name=/^(sort|toSorted)$/][arguments.length=0]', message: 'sort needs a comparison: the default order is by string' },
        { selector: 'ForInStatement', message: 'iterate maps and arrays: their order is insertion order' },
        { selector: ':function[async=true], AwaitExpression, ForOfStatement[await=true], ImportExpression', message: 'the core is synchronous' },
        { selector: "MetaProperty[meta.name='import']", message },
        { selector: 'Property[kind=/^[gs]et$/]', message: 'state is data: a getter is a closure that a snapshot would take for a value' },
      ],
    },
  },
  {
    files: ['properties/**/*.ts'],
    ignores: ['properties/fast-check.ts'],
    rules: { 'no-restricted-imports': ['error', { paths: [{ name: 'fast-check', message: 'import it from properties/fast-check.js, which gives it the seed of the gate' }] }] },
  },
  { files: ['*.cjs'], languageOptions: { globals: { module: 'writable' } } },
);
