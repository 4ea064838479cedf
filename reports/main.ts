/**
 * The words of the `lockstep` command and their help. Each verb is a function in a file of its own; here only commander's view of it, and the
 * mapping from what went wrong to an exit code.
 */

import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { configurations } from '../sim/explore/configurations.js';
import { UsageError } from '../sim/types.js';
import type { CommandContext } from './context.js';
import { loadEngine } from './engine-types.js';
import type { ExitCode } from './exit-codes.js';
import { exitCodes } from './exit-codes.js';
import { scenariosCommand } from './list-scenarios.js';
import { replayCommand } from './replay.js';
import type { ReseedOptions } from './reseed/command.js';
import type { RunOptions } from './run.js';
import { runCommand } from './run.js';
import type { ExploreOptions } from './explore.js';
import type { MutantsOptions } from './mutants/command.js';
import type { ShrinkCommandOptions } from './shrink/command.js';
import type { SweepOptions } from './sweep/sweep.js';

export interface Surroundings {
  /** Address of the module that exports the engine. */
  engineModule: string;
  out(line: string): void;
  err(line: string): void;
}

const examples = `
Examples:
  lockstep scenarios                                  what there is to try
  lockstep run failover --seed 7 --timeline           one run, told as a story
  lockstep sweep failover partition --seeds 1..200    many runs, a report folder
  lockstep sweep failover --vary protocol=A,B,C       each seed with each protocol
  lockstep sweep --time 10m --junit out.xml           CI: all scenarios until the time is over
  lockstep explore smallest                           everything that can happen to two nodes and one write
  lockstep replay reports/out/failures/failover-7.json
  lockstep shrink reports/out/failures/failover-7.json  what of that run it takes to fail

Exit codes: 0 every property held, 1 a correctness violation, 2 bad usage, 3 a liveness violation, 4 nondeterminism, 5 the harness broke,
6 nothing failed, but a sweep of all scenarios did not reach all that it should.
A seed is a number or a commit hash.`;

const shrinkHelp = `
Faults go first, then requests of the application, then chance and time; what is left gets simpler and rounder. Expectations, hosts and what
operators repair after the storm stay as the scenario has them. Parameters change only where the scenario would do the same with the simpler one.

  lockstep sweep failover --seeds 1..500
  lockstep shrink reports/out/failover-1-500/failures/failover-77.json
  lockstep replay reports/out/failover-1-500/failures/failover-77.shrunk.json --timeline

Exit codes: 1 or 3 the smaller run fails, 0 the file does not fail any more, 2 bad usage, 4 the same code made another run, 5 the harness broke.`;

const reseedHelp = `
A failure is often seen long after it was caused. --reseed-from auto repeats a failing run again and again, with the same past, to the byte, up to some moment and
with other faults, delays and requests after it. Before the damage is done few futures fail, afterwards nearly all do: the step says when it was, and the story what happened then.

  lockstep run failover --seed 4711 --reseed-from auto
  lockstep run failover --seed 4711 --reseed-from 12.5s --futures 200`;

const exploreHelp = `
Two nodes with a device of a block or two, connected and in sync, the first one Primary. From there every order is taken in which packets can arrive, disk
operations can end and operators, application and fate can act; a crash falls between any two steps, and its disks keep nothing, all, one or all but one
of what no flush covers. Time passes when nothing is on its way. In each world: nothing acknowledged is missing, no difference is unmarked, metadata can be
read, no core breaks an assertion; along a path to each end: every checker of the simulator. The first violation is a shortest one.

Configurations:
${configurations.map(({ name, summary, isComplete }) => `  ${name.padEnd(12)}${summary}${isComplete ? '' : ' (large: bounded unless --states is given)'}`).join('\n')}

  lockstep explore smallest
  lockstep explore two-writes --states 2000000

Exit codes: 0 held, 1 a correctness violation, 2 bad usage, 3 a liveness violation, 4 complete with other counts than those pinned, 5 the harness broke.`;

/** Runs the command line `words` (without node and script). Never throws. */
export async function main(words: readonly string[], surroundings: Surroundings): Promise<ExitCode> {
  let code: ExitCode = exitCodes.held;
  const program = commandLine(surroundings, (result) => {
    code = result;
  });
  try {
    await program.parseAsync([...words], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.held : exitCodes.usage;
    if (error instanceof UsageError) {
      surroundings.err(`lockstep: ${error.message.replaceAll('\n', ' ')}`);
      return exitCodes.usage;
    }
    surroundings.err(`lockstep: the harness broke: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    surroundings.err(`repeat: lockstep ${words.join(' ')}`);
    return exitCodes.broke;
  }
}

function commandLine(surroundings: Surroundings, ended: (code: ExitCode) => void): Command {
  const { engineModule, out, err } = surroundings;
  const context = async (): Promise<CommandContext> => ({ engine: await loadEngine(engineModule), engineModule, out, err });
  const program = new Command('lockstep')
    .description('Drives the protocol of a replicated block device through crashes, partitions and disk faults,\nand says whether an acknowledged write was ever lost.')
    .version(packageVersion())
    .addHelpText('after', examples)
    .showHelpAfterError('(lockstep --help explains)')
    .exitOverride()
    .configureOutput({ writeOut: (text) => out(text.trimEnd()), writeErr: (text) => err(text.trimEnd()) });

  program
    .command('scenarios')
    .description('list the scenarios, a line each with their parameters; with names, what each parameter means')
    .argument('[names...]')
    .action(async (names: string[]) => ended(scenariosCommand(names, await context())));

  program
    .command('run')
    .description('one run: its whole configuration, the verdict, the command that repeats it')
    .argument('<scenario>')
    .requiredOption('--seed <n>', 'number or commit hash')
    .option('--set <k=v>', "set a parameter ('lockstep scenarios NAME' lists them); may be repeated", collect, [])
    .option('--schedule <file>', 'faults to inject in the place of those drawn from the seed (JSON; a failure file will do)')
    .option('--splice <stream@n=seed>', 'draw n numbers of a random stream as the seed does, then go on as another seed begins (a steered sweep prints it); may be repeated', collect, [])
    .option('--image <file>', "keep the survivor's disk image")
    .option('--trace <file>', 'write every input and output as a JSON line')
    .option('--timeline', 'tell what happened, line by line')
    .option('--json', 'one JSON object on stdout, words on stderr')
    .option('--reseed-from <t>', 'when was it lost? The same past, and other futures from t on (seconds of the timeline; auto: from many moments): the share that fails, as a plot')
    .option('--futures <n>', 'with --reseed-from: so many from each moment (default 30)')
    .option('--jobs <n>', 'with --reseed-from: worker threads (default: one per core)')
    .option('--out <dir>', 'with --reseed-from: folder of the page (default reports/out/reseed/SCENARIO-SEED)')
    .addHelpText('after', reseedHelp)
    .action(async (name: string, { reseedFrom, futures, jobs, out: folder, ...options }: RunOptions & Partial<ReseedOptions>) => {
      const more = { ...(futures !== undefined && { futures }), ...(jobs !== undefined && { jobs }), ...(folder !== undefined && { out: folder }) };
      if (reseedFrom === undefined) {
        if (Object.keys(more).length > 0) throw new UsageError('--futures, --jobs and --out belong to --reseed-from');
        return ended(runCommand(name, options, await context()));
      }
      const { reseedCommand } = await import('./reseed/command.js');
      ended(await reseedCommand(name, { ...options, ...more, reseedFrom }, await context()));
    });

  program
    .command('sweep')
    .description('many runs in parallel, a summary table, a report folder with an HTML page (all scenarios when none is named)')
    .argument('[scenarios...]')
    .option('--all', 'all scenarios')
    .option('--seeds <a..b>', 'seeds, both ends included (default 1..100)')
    .option('--time <10m>', 'instead of an end: go on for this long (s, m, h), from seed 1 or from --seeds A')
    .option('--set <k=v>', 'set a parameter for all runs; may be repeated', collect, [])
    .option('--vary <k=a,b>', 'make each run with each of these values; may be repeated', collect, [])
    .option('--require-reached', 'what was not reached fails the sweep (exit 6), however narrow or short it is: situations of its scenarios; of all scenarios also rules, states and packets')
    .option('--steer <on|off>', 'half of the runs are spliced from runs that reached what few have reached (default off); --seeds then says how many runs there are')
    .option('--require-checks', 'a run whose real check could not be made counts as failed')
    .option('--jobs <n>', 'worker threads (default: one per core, or one where runs take much memory); results do not depend on it')
    .option('--out <dir>', 'report folder (default reports/out/SCENARIOS-SEEDS)')
    .option('--json', 'print summary.json on stdout, words on stderr')
    .option('--junit <file>', 'write junit.xml there too')
    .option('--no-shrink', 'do not shrink the first failures after the runs (up to three kinds, a minute each at most)')
    .action(async (names: string[], options: SweepOptions) => {
      const { sweepCommand } = await import('./sweep/sweep.js');
      ended(await sweepCommand(names, options, await context()));
    });

  program
    .command('replay')
    .description('repeat a failure file and say whether it is the same run: 1 or 3 it still fails, 0 the failure is gone, 4 the same code made another run')
    .argument('<file>')
    .option('--timeline', 'tell what happened, line by line')
    .action(async (file: string, options: { timeline?: boolean }) => ended(replayCommand(file, options, await context())));

  program
    .command('shrink')
    .description(
      'the smallest run that still violates the same property: takes faults, requests and time out of a failure file, replay by replay, and tells what is left in at most 25 lines',
    )
    .argument('<file>', "a failure file of 'lockstep run' or 'lockstep sweep'")
    .option('--out <file>', 'where the smaller failure file goes (default: FILE.shrunk.json beside it)')
    .option('--time <10m>', 'end after this long with the smallest so far (s, m, h); Ctrl-C does the same')
    .option('--replays <n>', 'end after so many replays: unlike --time this gives the same result everywhere', '3000')
    .addHelpText('after', shrinkHelp)
    .action(async (file: string, options: ShrinkCommandOptions) => {
      const { shrinkCommand } = await import('./shrink/command.js');
      ended(await shrinkCommand(file, options, await context()));
    });

  program
    .command('explore')
    .description('everything that can happen to a small configuration, in every order: complete, or as far as a bound goes')
    .argument('[configuration]', 'which one', 'smallest')
    .option('--depth <n>', 'no further than so many steps')
    .option('--states <n>', 'no more than about so many different worlds')
    .option('--json', 'one JSON object on stdout, words on stderr')
    .addHelpText('after', exploreHelp)
    .action(async (name: string, options: ExploreOptions) => {
      const { exploreCommand } = await import('./explore.js');
      ended(exploreCommand(name, options, { out, err }));
    });

  program
    .command('mutants')
    .description('the kill matrix: deliberate protocol bugs, each swept until a property catches it (without names and --all: the most important ones)')
    .argument('[ids...]')
    .option('--all', 'every mutant there is')
    .option('--patch <diff>', 'a bug of yours: a diff of src/, swept through all scenarios; may be repeated', collect, [])
    .option('--seeds <n>', 'seeds given to each scenario before a mutant counts as alive (default 2000; of a patch as many as make 5000 runs)')
    .option('--repeats <n>', 'so many disjoint ranges of seeds: median and worst of the runs that it took', '1')
    .option('--regressions', 'only play the runs of scenarios/regressions, each on its mutant')
    .option('--keep', 'write the run that caught each, shrunk unless --no-shrink, to scenarios/regressions')
    .option('--scoreboard <file>', 'bring the rows of these mutants in this markdown file up to date')
    .option('--jobs <n>', 'worker threads (default: one per core)')
    .option('--set <k=v>', 'set a parameter for all of them; may be repeated', collect, [])
    .option('--no-shrink', 'do not look for the smallest run that catches each')
    .option('--shrink-time <30s>', 'how long that may take for each (s, m, h)', '30s')
    .action(async (ids: string[], options: MutantsOptions) => {
      const { mutantsCommand } = await import('./mutants/command.js');
      ended(await mutantsCommand(ids, options, { out, err }));
    });

  program
    .command('dissect')
    .description('recorded streams as packets, one JSON object a line')
    .argument('<files...>')
    .action(async (files: string[]) => {
      const { dissectCommand } = await import('./dissect/index.js');
      ended(dissectCommand(files, out) as ExitCode);
    });

  return program;
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function packageVersion(): string {
  const packageJson = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(packageJson, 'utf8')) as { version: string }).version;
}
