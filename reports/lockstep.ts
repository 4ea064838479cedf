#!/usr/bin/env node
/** The `lockstep` program: the command line of reports/main.ts with the real simulator behind it. */

import { main } from './main.js';

/** A reader that went away (`lockstep … | head`) is no error. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

process.exitCode = await main(process.argv.slice(2), {
  engineModule: new URL('./engine.js', import.meta.url).href,
  out: (line) => void process.stdout.write(`${line}\n`),
  err: (line) => void process.stderr.write(`${line}\n`),
});
