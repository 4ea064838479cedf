/**
 * Database traces: bank transfers, each committed. After the filesystem's and the database's own recovery every committed
 * ledger line must be there and no money lost: sum(balance) is 20000.
 */

import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Acknowledgement } from '../traces.js';
import { repairExt } from './files.js';
import { Rejected, Unavailable, lastLine, run, toolPath, withMounted } from './tools.js';

const TOTAL_BALANCE = 20000;
const START_TIMEOUT_S = 60;
const STOP_TIMEOUT_S = 20;

export interface LedgerSteps {
  /** The tables exist. */
  created: boolean;
  ids: number[];
}

export function ledgerSteps(acks: readonly Acknowledgement[], entries: number): LedgerSteps {
  const steps: LedgerSteps = { created: false, ids: [] };
  for (const ack of acks) {
    if (ack.entry > entries) break;
    if (ack.ack === 'created') steps.created = true;
    if (ack.ack === 'commit') steps.ids.push(ack.id);
  }
  return steps;
}

/** `query` runs one SQL statement and returns its lines. */
function checkLedger(steps: LedgerSteps, query: (sql: string) => string[]): void {
  const sum = query('select sum(balance) from account')[0];
  if (sum !== String(TOTAL_BALANCE)) throw new Rejected(`sum(balance) is ${sum}, not ${TOTAL_BALANCE}`);
  const ids = new Set(query('select id from ledger').map(Number));
  const missing = steps.ids.filter((id) => !ids.has(id));
  if (missing.length > 0) {
    throw new Rejected(`ledger lines ${missing.slice(0, 5).join(', ')} are missing, ${steps.ids.length} were committed`);
  }
}

/** SQLite on ext4: the journal that a crash left is rolled back when the database is opened. */
export function judgeSqlite(imagePath: string, mountPoint: string, steps: LedgerSteps): void {
  toolPath('sqlite3');
  repairExt(imagePath);
  withMounted(imagePath, mountPoint, 'ext4', 'rw', () => {
    if (!steps.created) return;
    const query = (sql: string): string[] => {
      const result = run('sqlite3', ['-bail', join(mountPoint, 'bank.db'), sql]);
      if (result.status !== 0) throw new Rejected(`sqlite3: ${sql}: ${lastLine(result.output)}`);
      return result.output.split('\n').filter((line) => line !== '');
    };
    const integrity = query('pragma integrity_check').join(' ');
    if (integrity !== 'ok') throw new Rejected(`pragma integrity_check: ${integrity}`);
    checkLedger(steps, query);
  });
}

/** PostgreSQL on ext4: started on the mounted image (it replays its WAL), asked over a unix socket only, stopped again. */
export function judgePostgres(imagePath: string, folder: string, mountPoint: string, steps: LedgerSteps): void {
  for (const tool of ['pg_ctl', 'postgres', 'psql']) toolPath(tool);
  const identity = identityOf('postgres');
  withMounted(imagePath, mountPoint, 'ext4', 'rw', () => {
    if (!steps.created) return;
    const sockets = join(folder, 'sockets');
    mkdirSync(sockets);
    chownSync(sockets, identity.uid, identity.gid);
    chmodSync(folder, 0o711);
    const data = join(mountPoint, 'pg');
    const control = (...args: string[]): ReturnType<typeof run> =>
      run('pg_ctl', ['-D', data, '-w', ...args], { ...identity, timeoutMs: (START_TIMEOUT_S + STOP_TIMEOUT_S) * 1000 });
    // The lock of a server on a machine that is gone; its number may be taken here.
    rmSync(join(data, 'postmaster.pid'), { force: true });
    const log = join(sockets, 'log');
    const options = `-c listen_addresses='' -c unix_socket_directories='${sockets}'`;
    const started = control('-t', String(START_TIMEOUT_S), '-l', log, '-o', options, 'start');
    try {
      if (started.status !== 0) throw new Rejected(`postgres does not start: ${reasonIn(log) || lastLine(started.output)}`);
      checkLedger(steps, (sql) => {
        const result = run('psql', ['-h', sockets, '-U', 'postgres', '-At', '-c', sql]);
        if (result.status !== 0) throw new Rejected(`psql: ${sql}: ${lastLine(result.output)}`);
        return result.output.split('\n').filter((line) => line !== '');
      });
    } finally {
      control('-t', String(STOP_TIMEOUT_S), '-m', 'immediate', 'stop');
    }
  });
}

function identityOf(user: string): { uid: number; gid: number } {
  const uid = run('id', ['-u', user]);
  const gid = run('id', ['-g', user]);
  if (uid.status !== 0 || gid.status !== 0) throw new Unavailable(`there is no user ${user}`);
  return { uid: Number(uid.output), gid: Number(gid.output) };
}

function reasonIn(logPath: string): string {
  try {
    const lines = readFileSync(logPath, 'utf8').split('\n');
    return lines.findLast((line) => /FATAL|PANIC/.test(line)) ?? '';
  } catch {
    return '';
  }
}
