/** What runs on the mirrored volume: each begins, goes on after a failover, notes what was acknowledged to it, and looks whether it is there. */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { sleep } from '../../../real/demo/machine.js';
import { slotOf, wrongFiles } from './files.js';
import { hasTool, run, type Filesystem } from './stack.js';

interface User {
  uid?: number;
  gid?: number;
}

export abstract class Application {
  /** Numbers that were acknowledged: each means something that must be there from then on. */
  readonly acknowledged = new Set<number>();
  private readonly processes: ChildProcess[] = [];

  constructor(
    readonly name: string,
    readonly filesystem: Filesystem,
    /** Programs that it needs beside those of every filesystem. */
    readonly tools: readonly string[],
  ) {}

  /** On a fresh filesystem. */
  abstract prepare(folder: string): Promise<void>;
  /** Begins its load. What its processes do when their disk goes away under them is no failure. */
  abstract begin(folder: string): void;
  /** After a failover, before it begins again: its own recovery, and then what is wrong, or undefined. */
  abstract check(folder: string): Promise<string | undefined>;

  /** Its processes are gone when this is over. */
  async end(): Promise<void> {
    for (const child of this.processes.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      // A database's processes may wait for ever for one that is dead.
      const own = spawnSync('ps', ['-o', 'pid=', '--ppid', String(child.pid)], { encoding: 'utf8' }).stdout.split('\n').filter((line) => line.trim() !== '');
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
      for (const pid of own.map(Number)) killIfThere(pid);
    }
  }

  protected start(words: readonly string[], user: User = {}): ChildProcess {
    const child = spawn(words[0]!, words.slice(1), { stdio: ['pipe', 'pipe', 'ignore'], ...user });
    child.stdin!.on('error', () => undefined);
    child.stdout!.resume();
    this.processes.push(child);
    return child;
  }

  /** Starts a program whose lines are numbers that were acknowledged; `noted` is called for each. */
  protected startWorker(words: readonly string[], noted: (number: number) => void, user: User = {}): ChildProcess {
    const child = this.start(words, user);
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (!/^\d+$/.test(line)) return;
      this.acknowledged.add(Number(line));
      noted(Number(line));
    });
    return child;
  }
}

class Files extends Application {
  private readonly versions = new Map<number, number>();
  private last = 0;

  constructor(filesystem: Filesystem) {
    super(`files on ${filesystem}`, filesystem, []);
  }

  override async prepare(): Promise<void> {}

  override begin(folder: string): void {
    // The version after the last one may have been on its way.
    const writer = [process.execPath, fileURLToPath(new URL('files.js', import.meta.url)), join(folder, 'files'), String(this.last + 2)];
    this.startWorker(writer, (version) => {
      this.versions.set(slotOf(version), version);
      this.last = version;
    });
  }

  override async check(folder: string): Promise<string | undefined> {
    return wrongFiles(join(folder, 'files'), this.versions);
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The next row is asked for when the last one was acknowledged. */
abstract class Database extends Application {
  private next = 1;

  protected abstract insertOf(id: number): string;

  protected insertRows(words: readonly string[], user: User = {}): void {
    const client = this.startWorker(words, () => client.stdin!.write(this.insertOf(this.next++)), user);
    client.stdin!.write(this.insertOf(this.next++));
  }

  protected missingOf(listed: string): string | undefined {
    const present = new Set(listed.split('\n').map(Number));
    const missing = [...this.acknowledged].filter((id) => !present.has(id));
    return missing.length === 0 ? undefined : `${missing.length} of ${this.acknowledged.size} acknowledged rows are missing, the first is ${missing[0]}`;
  }
}

/** EXTRA: the end of a commit is that the journal's name goes, and FULL does not make that durable. */
class Sqlite extends Database {
  constructor() {
    super('SQLite on ext4', 'ext4', ['sqlite3', 'stdbuf', 'ps']);
  }

  override async prepare(folder: string): Promise<void> {
    run(['sqlite3', join(folder, 'data.db'), 'CREATE TABLE rows (id INTEGER PRIMARY KEY, filling TEXT);']);
  }

  override begin(folder: string): void {
    this.insertRows(['stdbuf', '-oL', 'sqlite3', '-bail', '-cmd', 'PRAGMA synchronous = EXTRA;', join(folder, 'data.db')]);
  }

  protected override insertOf(id: number): string {
    return `INSERT INTO rows VALUES (${id}, hex(randomblob(${(id * 37) % 3000})));\nSELECT ${id};\n`;
  }

  override async check(folder: string): Promise<string | undefined> {
    const path = join(folder, 'data.db');
    const integrity = run(['sqlite3', path, 'PRAGMA integrity_check;']).trim();
    if (integrity !== 'ok') return `integrity_check: ${integrity}`;
    return this.missingOf(run(['sqlite3', path, 'SELECT id FROM rows;']));
  }
}

/** One client notes each commit, and pgbench makes the load beside it. */
class Postgres extends Database {
  private static readonly programs = hasTool('pg_config') ? run(['pg_config', '--bindir']).trim() : '';
  private readonly user: User;

  constructor() {
    super('PostgreSQL with pgbench on ext4', 'ext4', [...['initdb', 'postgres', 'psql', 'pgbench', 'pg_isready', 'pg_amcheck'].map((name) => join(Postgres.programs, name)), 'setpriv', 'stdbuf', 'ps']);
    const idOf = (what: string): number => Number(spawnSync('id', [what, 'postgres'], { encoding: 'utf8' }).stdout) || 65534;
    this.user = { uid: idOf('-u'), gid: idOf('-g') };
  }

  private words(program: string, ...args: string[]): string[] {
    return [join(Postgres.programs, program), ...args];
  }

  private asUser(words: readonly string[]): string {
    return run(['setpriv', `--reuid=${this.user.uid}`, `--regid=${this.user.gid}`, '--clear-groups', ...words]);
  }

  private query(folder: string, text: string): string {
    return this.asUser(this.words('psql', '-h', folder, '-qAtX', '-v', 'ON_ERROR_STOP=1', '-c', text, 'postgres'));
  }

  override async prepare(folder: string): Promise<void> {
    mkdirSync(join(folder, 'pg'));
    chownSync(join(folder, 'pg'), this.user.uid!, this.user.gid!);
    this.asUser(this.words('initdb', '-A', 'trust', '-D', join(folder, 'pg', 'data')));
    await this.startServer(folder);
    this.query(join(folder, 'pg'), 'CREATE TABLE rows (id int PRIMARY KEY, filling text); CREATE EXTENSION amcheck;');
    this.asUser(this.words('pgbench', '-h', join(folder, 'pg'), '-i', '-q', 'postgres'));
  }

  private async startServer(folder: string): Promise<void> {
    const place = join(folder, 'pg');
    this.start(this.words('postgres', '-D', join(place, 'data'), '-k', place, '-c', 'listen_addresses='), this.user);
    for (let tries = 0; spawnSync(join(Postgres.programs, 'pg_isready'), ['-h', place]).status !== 0; tries++) {
      if (tries > 300) throw new Error('PostgreSQL does not come up');
      await sleep(100);
    }
  }

  /** The server runs since it was prepared or checked. */
  override begin(folder: string): void {
    const place = join(folder, 'pg');
    this.insertRows(['stdbuf', '-oL', ...this.words('psql', '-h', place, '-qAtX', '-v', 'ON_ERROR_STOP=1', 'postgres')], this.user);
    this.start(this.words('pgbench', '-h', place, '-n', '-c', '4', '-T', '3600', 'postgres'), this.user);
  }

  protected override insertOf(id: number): string {
    return `INSERT INTO rows VALUES (${id}, repeat('x', ${(id * 37) % 3000})) RETURNING id;\n`;
  }

  override async check(folder: string): Promise<string | undefined> {
    await this.startServer(folder);
    const place = join(folder, 'pg');
    const sums = this.query(place, 'SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT coalesce(sum(delta), 0) FROM pgbench_history);').trim();
    if (new Set(sums.split('|')).size !== 1) return `pgbench's balances differ: ${sums}`;
    this.asUser(this.words('pg_amcheck', '-h', place, '--heapallindexed', 'postgres'));
    return this.missingOf(this.query(place, 'SELECT id FROM rows;'));
  }
}

export const applications = (): Application[] => [new Files('ext2'), new Files('ext4'), new Files('xfs'), new Sqlite(), new Postgres()];
