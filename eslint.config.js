// Lint: the recommended rules, and for src/ the rule of the core: no clock, no randomness, no Node (design: "The core").
import tseslint from 'typescript-eslint';

const outside = ['process', 'Buffer', 'console', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'performance', 'crypto', 'fetch', 'globalThis', 'Date'];

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
      'no-restricted-globals': ['error', ...outside.map((name) => ({ name, message: 'src/ knows no clock, no randomness, no Node' }))],
      'no-restricted-properties': ['error', { object: 'Math', property: 'random', message: 'randomness comes through Environment' }],
      'no-restricted-syntax': [
        'error',
        { selector: "CallExpression[callee.property.name='sort'][arguments.length=0]", message: 'sort needs a comparison: the default order is by string' },
        { selector: 'ForInStatement', message: 'iterate maps and arrays: their order is insertion order' },
        { selector: 'FunctionDeclaration[async=true], ArrowFunctionExpression[async=true]', message: 'the core is synchronous' },
      ],
    },
  },
  { files: ['*.cjs'], languageOptions: { globals: { module: 'writable' } } },
);
