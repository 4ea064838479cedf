// Where the core does not end, or say, what the recorded kernel did, and why that is as it should be; and what is not played, and why.
// Whatever is on neither list is a failure, and so is an entry that nothing shows any more.

import type { Side } from './recording.js';

export interface Difference {
  /** Folders below captures, by name or expression. */
  folder: string | RegExp;
  side?: Side;
  /** Lines of what was found: a difference, `missing: …`, `extra: …`. */
  finding: RegExp;
  reason: string;
}

export interface NotPlayed {
  folder: string | RegExp;
  side?: Side;
  reason: string;
}

export const concerns = (entry: { folder: string | RegExp; side?: Side }, folder: string, side: Side): boolean =>
  (typeof entry.folder === 'string' ? entry.folder === folder : entry.folder.test(folder)) && (entry.side === undefined || entry.side === side);

const KERNEL_BITMAP = 'the kernel clears the last 64 bits of a bitmap of whole words when it attaches (metadata.md §4): fewer bits than are out of sync';
const FELL_OUT = 'the kernel gave the connection up at P_ENABLE_REPLICATION (captures/with-drbd9, 30), the core goes on: what was said in between is not asked twice';
const NOT_READ = 'the recorded node lost the connection before it read what it would have judged';
const DISK_NUMBERS = "the kernel took DRBD 9's Outdated for DUnknown and called its own disk so (captures/with-drbd9, 14); the core's is Outdated";
const FOLLOWED = "the kernel stays in the generation before the one that DRBD 9 began while connected, the core follows (captures/with-drbd9, 21), and offers it from then on";
const NO_SECOND_SOURCE = 'the kernel, whose Primary crashed, makes itself the source beside a DRBD 9 that survived and does the same; the core becomes the target (captures/with-drbd9, 23)';
const DYING = 'the kernel writes its new generation into the connection that it is losing; nobody hears it';

export const legitimate: readonly Difference[] = [
  { folder: /^full-sync-external-md$|^with-drbd9\/full-sync-from-9$/, finding: /\b(192|256) bits/, reason: KERNEL_BITMAP },
  { folder: /^(with-drbd9\/)?resize-/, finding: /P_UUIDS .*\b(960|1024) bits/, reason: KERNEL_BITMAP },
  { folder: 'refused-protocol-mismatch', side: 'alice', finding: /^at 01-after-failure: StandAlone .*recorded WFConnection/, reason: NOT_READ },
  { folder: 'with-drbd9/refused-unrelated-data', finding: /^at 02-after-failure: StandAlone .*recorded WFConnection/, reason: NOT_READ },
  { folder: /^with-drbd9\/fencing-disconnect-9-primary/, finding: /^at 0[12]-.*recorded .* DUnknown\/|P_STATE 0 (cc82|10ca6|ca82|110a6)$/, reason: DISK_NUMBERS },
  { folder: /^with-drbd9\/(generation-84-skip-then-9-primary-drbd-9.2.18|roles-9-is-bob|writes-a-from-9|dual-primary|resync-9-to-84-generation-made-by-84|split-brain-refused-unrelated-generation)$/, finding: /^at 0\d-.* bits |^(missing|extra): P_UUIDS/, reason: FOLLOWED },
  { folder: 'with-drbd9/generation-84-skip-then-9-primary-drbd-9.2.18', finding: /^extra: P_STATE 0 10ae6$/, reason: FOLLOWED },
  { folder: /^with-drbd9\/crash-primary-84-both-sync-source/, finding: /^at 02-both-sync-source: SyncTarget .*recorded SyncSource|^still connected|^resync of other sectors|^missing: P_(STATE|SYNC_UUID)|^extra: P_STATE/, reason: NO_SECOND_SOURCE },
  { folder: 'peer-read-error-diskless', side: 'bob', finding: /^at 01-after-error: .* 1 bits .* 0 bits/, reason: 'the core marks a block that it cannot read' },
  { folder: 'resync-read-error', side: 'alice', finding: /^at 01-resynced-with-errors: Connected .*recorded SyncSource|^missing: P_UUIDS .* 4 bits|^missing: P_STATE 0 9109$/, reason: 'a kernel stays SyncSource behind a resync with errors, the core goes on (sync-and-activity-log.md §7.4)' },
  { folder: 'resync-read-error', side: 'alice', finding: /^missing: P_UUIDS .* 0 bits/, reason: DYING },
  { folder: 'net-options-online', side: 'bob', finding: /^missing: P_(PROTOCOL_UPDATE|SYNC_PARAM89)/, reason: 'the core took the options over when the peer told them: the same command changes nothing more, and nothing is told' },
  { folder: /^with-drbd9\//, finding: /^still connected, after P_ENABLE_REPLICATION/, reason: FELL_OUT },
  { folder: /^with-drbd9\/(full-sync-from-84|generation-84-full-sync-then-9-primary|outdate-9|resync-bitmap-84-to-9|split-brain-auto-zero-changes|trim-and-zeroes-from-84|verify-started-by-9|sync-interrupted-84-to-9|thin-resync-84-to-9)$/, finding: /^extra: P_RS_(DATA_REPLY|DEALLOCATED)/, reason: FELL_OUT },
  {
    folder: 'with-drbd9/diskless-primary-84-drbd-9.2.18', side: 'alice', finding: /^(missing|extra): P_UUIDS .* bits [26]/,
    reason: 'DRBD 9 begins no generation while we write without a disk, so the disk that comes back says of itself that it is Inconsistent; the kernel offers it as it was',
  },
  { folder: 'with-drbd9/diskless-primary-9', finding: /^(missing|extra): P_(SYNC_)?UUIDS?/, reason: FELL_OUT },
  { folder: /^with-drbd9\/(split-brain-auto-zero-changes|verify-started-by-84|verify-started-by-9)$/, finding: /^missing: P_UUIDS/, reason: DYING },
  { folder: 'with-drbd9/split-brain-refused-unrelated-generation', finding: /^at 02-refused: StandAlone .*recorded WFConnection|^at 03-refused-again: .*Outdated|^extra: P_STATE 0 10aea$/, reason: NOT_READ },
];

export const notPlayed: readonly NotPlayed[] = [
  { folder: /^(with-drbd9\/)?crash-secondary(-9)?$/, side: 'alice', reason: 'what a shell loop wrote while alone is on no wire and in no line of the scenario' },
  { folder: /^two-volumes$|^with-drbd9\/two-volumes-from-9$/, side: 'alice', reason: 'drbdadm promoted volume by volume with a request each; the core asks once for the resource (node-states.md §8.6), and the recorded answers are to other requests' },
  { folder: 'with-drbd9/peer-write-error-on-9-pass-on', reason: 'the second block of one dd is on no wire: when it was written is not known' },
  { folder: 'congestion-pull-ahead', side: 'alice', reason: 'when the network was full is not fed: the player takes all that is sent' },
  { folder: 'sync-interrupted', side: 'bob', reason: 'where the link was cut depends on how the requests for resync were cut' },
  { folder: /^(with-drbd9\/)?resync-csums/, side: 'bob', reason: 'the kernel cut its requests with digests where its pages for the read ended; an answer is for exactly one request' },
  { folder: 'with-drbd9/refused-protocol-version-min-118', reason: 'the peer begins with a header of protocol 118, which no reader of ours takes for a packet (properties/connection/recordings.test.ts feeds its bytes)' },
  { folder: 'dual-primary-heavy-overlap', reason: "a fault of the kernel's own (BAD! BarrierAck): the recorded answers do not follow from what was sent" },
];
