/** The `lockstep` program with the fake engine behind it, for tests that need a process of its own. */

import { main } from '../../reports/main.js';

process.exitCode = await main(process.argv.slice(2), {
  engineModule: new URL('./fake-engine.js', import.meta.url).href,
  out: (line) => void process.stdout.write(`${line}\n`),
  err: (line) => void process.stderr.write(`${line}\n`),
});
