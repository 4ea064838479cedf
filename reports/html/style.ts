/** The look of the report: one column, light and dark by the reader's choice, fit for paper. No font or picture from outside. */

export const style = `
:root { color-scheme: light dark; --paper:#fff; --ink:#1b1f24; --dim:#5c6670; --rule:#d9dee3; --soft:#f4f6f8;
  --good:#1a7f4b; --bad:#c62828; --warn:#9a6700; --calm:#6b7682;
  --s1:#2563c9; --s2:#d9730d; --s3:#1a8a63; --s4:#a33ea1; --s5:#c43c3c; --s6:#6a5acd; --s7:#7d6b14; --s8:#0f8a9d; }
@media (prefers-color-scheme: dark) { :root { --paper:#14171a; --ink:#e4e8ec; --dim:#9aa5b0; --rule:#323940; --soft:#1d2226;
  --good:#4cc38a; --bad:#ff7b72; --warn:#e0a93b; --calm:#8b96a2;
  --s1:#6ea8ff; --s2:#ffa657; --s3:#4cc9a0; --s4:#d88ad6; --s5:#ff8a80; --s6:#a99cff; --s7:#d4bf57; --s8:#56cfe1; } }
@media print { :root { --paper:#fff; --ink:#000; --dim:#444; --rule:#bbb; --soft:#fff; } section, tr, svg { break-inside: avoid; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; } h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .4rem 0; max-width: 46rem; } .dim { color: var(--dim); }
code, pre { font: 13px/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { background: var(--soft); border: 1px solid var(--rule); border-radius: 6px; padding: .6rem .8rem; overflow-x: auto; margin: .4rem 0; }
.verdict { border-left: 6px solid var(--good); background: var(--soft); padding: .7rem 1rem; margin: 1rem 0; font-size: 1.1rem; }
.verdict.bad { border-color: var(--bad); } .verdict.warn { border-color: var(--warn); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem 1.5rem; margin: 1rem 0; }
.figures div { border-top: 1px solid var(--rule); padding-top: .35rem; } .figures b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .28rem .6rem .28rem 0; border-bottom: 1px solid var(--rule); }
th { color: var(--dim); font-weight: 600; font-size: .86rem; } td.n, th.n { text-align: right; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .warn { color: var(--warn); }
.bar { background: var(--s1); height: .55rem; border-radius: 2px; min-width: 1px; margin-top: .45rem; } td.barcell { width: 45%; }
svg { display: block; width: 100%; height: auto; max-width: 860px; font-family: inherit; }
details { border-bottom: 1px solid var(--rule); padding: .3rem 0; } summary { cursor: pointer; }
.named { min-width: 15rem; }
.narrow { max-width: 34rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 2.5rem; }
`;
