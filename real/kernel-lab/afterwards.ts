/**
 * What must hold when a case is over, whatever it was about: each node sees the other as the other sees itself; the generations are one where
 * both disks are good; both images are equal then, and hold what was acknowledged; neither log complains.
 */

import { BLOCK_BYTES, describe } from './contents.js';
import { sleep, type Peer, type View } from './peer.js';
import { blocksOf, endLoad, viewText, type Stage } from './steps.js';

/** Words of the kernel's DRBD that no healthy exchange causes. A case that causes one on purpose allows it. */
const COMPLAINTS = /BAD!|ASSERT|ProtocolError|unexpected|Unexpected|magic|bogus|Unknown packet|expected .* but|did not arrive in time|short read|integrity check FAILED|IO ERROR|I\/O error|BUG|Oops|Call Trace|blocked for more than|error receiving|timed out|Local IO failed|Online verify found|Split-Brain|self-detected|unrelated data|Authentication of peer failed|could not|not allocate/i;

/** Said by a kernel in good order: words that look like complaints and are none. */
const HARMLESS = /helper command|meta connection shut down by peer|sock was shut down by peer|Handshake successful|conn\( \w+ -> (BrokenPipe|NetworkFailure|Timeout|TearDown) \)|disk\( \w+ -> Failed \)|dsk\( \w+ -> Failed \)|expected exactly|bitmap READ/;

const OTHER_END: Record<string, string> = {
  WFBitMapS: 'WFBitMapT', WFBitMapT: 'WFBitMapS', SyncSource: 'SyncTarget', SyncTarget: 'SyncSource', PausedSyncS: 'PausedSyncT', PausedSyncT: 'PausedSyncS', VerifyS: 'VerifyT', VerifyT: 'VerifyS', Ahead: 'Behind', Behind: 'Ahead',
};

const isConnected = ({ conn }: View): boolean => !/^(StandAlone|Disconnecting|Unconnected|Timeout|BrokenPipe|NetworkFailure|ProtocolError|TearDown|WFConnection|WFReportParams|Unconfigured)$/.test(conn);

function mirrored(one: View, other: View): string | undefined {
  if (!isConnected(one) && !isConnected(other)) return undefined;
  const wanted: View = { ...other, conn: OTHER_END[one.conn] ?? one.conn, role: one.peerRole, peerRole: one.role, disk: one.peerDisk, peerDisk: one.disk };
  return viewText(wanted) === viewText(other) ? undefined : `the states are not mirrored: ${viewText(one)}, and ${viewText(other)}`;
}

/** One generation, and nothing that only one of them has. */
function oneGeneration(one: View, other: View): string | undefined {
  const zero = '0000000000000000';
  if (one.generations[0] !== other.generations[0]) return `the generations differ: ${one.generations.join(' ')}, and ${other.generations.join(' ')}`;
  for (const { generations, outOfSyncKib } of [one, other]) {
    if (generations[1] !== zero) return `in sync, and a bitmap generation is left: ${generations.join(' ')}`;
    if (outOfSyncKib !== 0) return `in sync, and ${outOfSyncKib} KiB are marked`;
  }
  return undefined;
}

const isInSync = (one: View, other: View): boolean => one.conn === 'Connected' && other.conn === 'Connected' && [one, other].every(({ disk }) => disk === 'UpToDate');

/** Lets what is under way come to its end, and looks. */
async function settled(stage: Stage): Promise<[View, View, string | undefined]> {
  let wrong: string | undefined;
  let views: [View, View] | undefined;
  for (const end = Date.now() + 10_000; ; await sleep(100)) {
    views = [await stage.one.view(), await stage.other.view()];
    wrong = mirrored(...views) ?? (isInSync(...views) ? oneGeneration(...views) : undefined);
    if (wrong === undefined || Date.now() > end) return [...views, wrong];
  }
}

/** Everything that is wrong; empty: nothing. */
export async function afterwards(stage: Stage): Promise<string[]> {
  const { one, other, ledger } = stage;
  const wrong: string[] = [];
  await Promise.all([one, other].map((peer) => endLoad(stage, peer)));
  const [mine, its, unequal] = await settled(stage);
  if (unequal !== undefined) wrong.push(unequal);
  for (const peer of mine.role === 'Primary' ? [other, one] : [one, other]) await takeDown(peer, wrong);
  if (isInSync(mine, its)) wrong.push(...compareImages(one, other, Math.min(mine.sizeSectors, its.sizeSectors)));
  if (isInSync(mine, its) && mine.sizeSectors !== its.sizeSectors) wrong.push(`one device has ${mine.sizeSectors} sectors, the other ${its.sizeSectors}`);
  for (const [peer, view] of [[one, mine], [other, its]] as const) {
    if (view.disk === 'UpToDate' && (isInSync(mine, its) || view.role === 'Primary')) wrong.push(...ledger.check((block) => blocksOf(peer.image, block, 1)).map((text) => `${peer.name}: ${text}`));
    wrong.push(...(await complaintsOf(peer, stage.allows)).map((line) => `${peer.name} says: ${line}`));
  }
  return wrong.length > 12 ? [...wrong.slice(0, 12), `... and ${wrong.length - 12} more`] : wrong;
}

async function takeDown(peer: Peer, wrong: string[]): Promise<void> {
  const { conn } = await peer.view();
  if (conn === 'Unconfigured') return;
  const answer = await peer.order(['down']);
  if (!answer.ok) wrong.push(`${peer.name} refuses to go down: (${answer.code}) ${answer.text}`);
}

/** The first blocks that differ. */
export function compareImages(one: Peer, other: Peer, sectors: number): string[] {
  const blocks = Math.floor(sectors / 8);
  const [mine, its] = [blocksOf(one.image, 0, blocks), blocksOf(other.image, 0, blocks)];
  if (mine.equals(its)) return [];
  const differing: number[] = [];
  for (let at = 0; at < blocks; at++) if (Buffer.compare(mine.subarray(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES), its.subarray(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES)) !== 0) differing.push(at);
  const first = differing[0]!;
  const show = (peer: Peer): string => `${peer.name} ${describe(blocksOf(peer.image, first, 1))}`;
  return [`${differing.length} blocks differ, first ${first}: ${show(one)}, ${show(other)}`];
}

/** The daemon logs JSON lines: what it calls an error is a complaint. */
export async function complaintsOf(peer: Peer, allows: readonly RegExp[]): Promise<string[]> {
  const isAllowed = (line: string): boolean => allows.some((one) => one.test(line));
  const lines = (await peer.log()).split('\n').filter((line) => line !== '');
  if (peer.name === 'kernel') return lines.filter((line) => /drbd|BUG|Oops|Call Trace|blocked for/.test(line) && COMPLAINTS.test(line) && !HARMLESS.test(line) && !isAllowed(line));
  return lines
    .map((line) => (line.startsWith('{') ? (JSON.parse(line) as { level: number | string; msg: string }) : { level: 'error', msg: line }))
    .filter(({ level, msg }) => /^(error|fatal|50|60)$/.test(String(level)) && !isAllowed(msg))
    .map(({ msg }) => msg);
}
