/**
 * Deliberate protocol bugs, as data: a checker that has never failed proves nothing. Most are bugs that DRBD once had (the id is that of the
 * bug list the project was given), each put in by one replacement in a copy of the source. The source itself knows no mutant.
 */

import { connection } from './list/connection.js';
import { disks } from './list/disks.js';
import { fourthStrangers } from './list/fourth-strangers.js';
import { generations } from './list/generations.js';
import { marks } from './list/marks.js';
import { own } from './list/own.js';
import { resync } from './list/resync.js';
import { secondStrangers } from './list/second-strangers.js';
import { strangers } from './list/strangers.js';
import { thirdStrangers } from './list/third-strangers.js';
import { writes } from './list/writes.js';
import type { Mutant } from './mutant.js';

export const mutants: readonly Mutant[] = [...writes, ...marks, ...generations, ...resync, ...disks, ...connection, ...own, ...strangers, ...secondStrangers, ...thirdStrangers, ...fourthStrangers];
