/** `node dist/properties/run.js [PART-OF-A-PATH…]`: the tests alone, or those whose path holds one of the words. */

import { runTests, testFiles } from './run-tests.js';

const counts = await runTests(testFiles(process.argv.slice(2)), {});
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 ? 0 : 1;
