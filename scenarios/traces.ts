/**
 * What is known of a recorded trace besides its log: the device, the tool that judges an image, and which steps the
 * application had been told are durable, with the number of log entries that existed then (shared/traces/README.md).
 */

import { readFileSync } from 'node:fs';
import { UsageError } from '../sim/types.js';

export type Acknowledgement =
  | { entry: number; ack: 'mkfs' | 'created' | 'checkpoint' | 'unmounted' }
  | { entry: number; ack: 'file'; name: string; size: number; head: string }
  | { entry: number; ack: 'removed'; name: string }
  | { entry: number; ack: 'commit'; id: number };

export type TraceKind = 'ext2' | 'ext4' | 'xfs' | 'sqlite' | 'postgres';

export interface TraceInfo {
  name: string;
  kind: TraceKind;
  deviceBytes: number;
  entries: number;
  /** In the order in which they were given. */
  acks: Acknowledgement[];
}

/** The description beside a log: `X.json` for `X.dmlog.gz` or `X.dmlog`. Throws `UsageError`. */
export function readTraceInfo(logPath: string): TraceInfo {
  const path = logPath.replace(/(\.dmlog)?(\.gz)?$/, '.json');
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  } catch (error) {
    const why = error instanceof SyntaxError ? 'is not JSON' : `cannot be read (${(error as NodeJS.ErrnoException).code})`;
    throw new UsageError(`the description ${path} of the trace ${why}; it must lie beside the log and say device_bytes, entries and acks`);
  }
  const acks = json['acks'];
  const kind = kindOf(String(json['filesystem']), String(json['database'] ?? ''));
  const bytes = Number(json['device_bytes']);
  const entries = Number(json['entries']);
  const isSize = Number.isSafeInteger(bytes) && bytes > 0 && bytes % 512 === 0;
  if (!Array.isArray(acks) || kind === undefined || !isSize || !Number.isSafeInteger(entries)) {
    const lacking = 'lacks one of filesystem, device_bytes, entries, acks, or says a filesystem that no judge knows';
    throw new UsageError(`the description ${path} ${lacking}; copy it again`);
  }
  return { name: String(json['name']), kind, deviceBytes: bytes, entries, acks: acks as Acknowledgement[] };
}

function kindOf(filesystem: string, database: string): TraceKind | undefined {
  if (database.startsWith('sqlite')) return 'sqlite';
  if (database.startsWith('postgresql')) return 'postgres';
  return filesystem === 'ext2' || filesystem === 'ext4' || filesystem === 'xfs' ? filesystem : undefined;
}
