// The import rules of the house (ARCHITECTURE.md): which room may know which. `npm run rules` checks them in CI.
/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    { name: 'src-is-alone', comment: 'the core imports only the core, and functions of their arguments alone', severity: 'error', from: { path: '^src/' }, to: { pathNot: '^src/|(^|/)node_modules/@noble/hashes/' } },
    { name: 'sim-imports-src', comment: 'the simulator knows the core, nothing further out', severity: 'error', from: { path: '^sim/' }, to: { path: '^(real|scenarios|reports|properties)/' } },
    { name: 'real-imports-src', comment: 'the drivers know the core, nothing further out', severity: 'error', from: { path: '^real/' }, to: { path: '^(sim|scenarios|reports|properties)/' } },
    { name: 'scenarios-import-sim', severity: 'error', from: { path: '^scenarios/' }, to: { path: '^(real|reports|properties)/' } },
    { name: 'reports-are-outermost', severity: 'error', from: { path: '^reports/' }, to: { path: '^(real|properties)/' } },
    { name: 'nobody-imports-properties', severity: 'error', from: { pathNot: '^properties/' }, to: { path: '^properties/' } },
    { name: 'no-circular', comment: 'one path through the house, downwards (types may point back)', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Nothing else: what is excluded can be imported unseen (packages have folders named dist).
    exclude: { path: '^reports/out/' },
    // The graph is of what is imported at run time, so that types may point back; each file is transpiled first.
    tsPreCompilationDeps: false,
    tsConfig: { fileName: 'tsconfig.json' },
    // An import of './x.js' is tried as './x.ts' by the tool itself.
    enhancedResolveOptions: { extensions: ['.ts', '.js', '.json'], exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};
