/**
 * The set of generation UUIDs of one disk and what may happen to it (generation-uuids.md §1-§3). The set says which data a
 * disk holds and what its bitmap is relative to; every later decision about who is newer rests on these few operations.
 *
 * Every function returns a new set and changes none: the caller stores the result in the superblock and sees to it that it is
 * durable before anything relies on it (timers-and-order.md D4-D9). Values are unsigned 64-bit; random ones are drawn by the
 * caller from the Environment, so that they are part of a recording.
 */

/** Bit 0 of the current UUID: its owner is, or was, Primary while it held this generation. */
export const PRIMARY_BIT = 1n;

/** "Just created": what create-md writes as the current UUID. */
export const JUST_CREATED = 4n;

/** Distance of a sync UUID from the bitmap UUID that it was derived from (rules 51 and 71 look for it). */
const SYNC_UUID_STEP = 1n << 48n;

/** The four slots as they stand in a superblock and in P_UUIDS. */
export interface UuidSlots {
  current: bigint;
  /** The generation that the bitmap is relative to; 0: no known difference to the peer. */
  bitmap: bigint;
  history1: bigint;
  history2: bigint;
}

/** A node's own slots, and the generation that its applications have seen (the exposed data UUID; 0 before any). */
export interface UuidSet extends UuidSlots {
  exposed: bigint;
}

/** [current, bitmap, history1, history2], as `Superblock.uuids` has them. */
export type UuidTuple = [bigint, bigint, bigint, bigint];

export const uuidSet = (uuids: Readonly<UuidTuple>, exposed: bigint): UuidSet => {
  const [current, bitmap, history1, history2] = uuids;
  return { current, bitmap, history1, history2, exposed };
};

export const uuidTuple = (slots: UuidSlots): UuidTuple => [slots.current, slots.bitmap, slots.history1, slots.history2];

/** A UUID as logs, traces and JSON show it: 16 upper-case hexadecimal digits. */
export const formatUuid = (uuid: bigint): string => uuid.toString(16).toUpperCase().padStart(16, '0');

/** The four slots as DRBD's log has them: current:bitmap:history1:history2. */
export const formatSlots = (slots: UuidSlots): string => uuidTuple(slots).map(formatUuid).join(':');

export const withoutPrimaryBit = (uuid: bigint): bigint => BigInt.asUintN(64, uuid) & ~PRIMARY_BIT;

/** The same generation: equal but for bit 0. */
export const sameGeneration = (one: bigint, other: bigint): boolean => withoutPrimaryBit(one) === withoutPrimaryBit(other);

const withRole = (uuid: bigint, primary: boolean): bigint => withoutPrimaryBit(uuid) | (primary ? PRIMARY_BIT : 0n);

/** 0 and 4 mean "absent" and "just created": no generation may be called so. One bit makes such a draw an ordinary value. */
const ordinary = (random: bigint): bigint => {
  const uuid = BigInt.asUintN(64, random);
  return isReserved(uuid) ? uuid | (1n << 63n) : uuid;
};

const isReserved = (uuid: bigint): boolean => withoutPrimaryBit(uuid) === 0n || withoutPrimaryBit(uuid) === JUST_CREATED;

// ---- Elementary operations (§2) ------------------------------------------------------------------------------------

export const moveHistory = (set: UuidSet): UuidSet => ({ ...set, history2: set.history1 });

/** A value goes into the bitmap slot; what was there, if anything, becomes the younger history. */
export const rotateBitmap = (set: UuidSet, value: bigint): UuidSet =>
  set.bitmap === 0n ? { ...set, bitmap: value } : { ...moveHistory(set), history1: set.bitmap, bitmap: value };

/** The plain set of the current UUID: takes the role's bit 0, and is exposed from now on. */
export const setCurrent = (set: UuidSet, value: bigint, primary: boolean): UuidSet => {
  const current = withRole(value, primary);
  return { ...set, current, exposed: current };
};

/**
 * `new_current`: a new generation begins. A bitmap UUID that is not 0 is overwritten (the caller may log that).
 * The superblock is due at once: whoever writes next must find it durable (D5, D6).
 */
export const newCurrent = (set: UuidSet, random: bigint, primary: boolean): UuidSet =>
  setCurrent({ ...set, bitmap: set.current }, ordinary(random), primary);

/** `set_bm`: 0 moves the bitmap UUID into the history, another value replaces it without its bit 0. */
export const setBitmap = (set: UuidSet, value: bigint): UuidSet => {
  if (value !== 0n) return { ...set, bitmap: withoutPrimaryBit(value) };
  return set.bitmap === 0n ? set : rotateBitmap(set, 0n);
};

/** Promotion, demotion, attach: bit 0 of the current UUID follows the role. What is exposed stays. */
export const setRoleBit = (set: UuidSet, primary: boolean): UuidSet => ({ ...set, current: withRole(set.current, primary) });

/** The disk became good enough to be looked at (>= Consistent): its generation is what applications see (node-states.md §6.5). */
export const expose = (set: UuidSet): UuidSet => ({ ...set, exposed: set.current });

/** The comparison that decides what becomes of a negotiating disk that lost its peer: exact, bit 0 included (node-states.md §4 step 4). */
export const exposedEqualsCurrent = (set: UuidSet): boolean => set.exposed === set.current;

// ---- A resync's UUIDs (§3) -----------------------------------------------------------------------------------------

/** The sync UUID that follows from a bitmap UUID; undefined where the rule calls for a random one. */
export const derivedSyncUuid = (bitmap: bigint): bigint | undefined => {
  const derived = BigInt.asUintN(64, bitmap + SYNC_UUID_STEP);
  return isReserved(bitmap) || isReserved(derived) ? undefined : derived;
};

/** Does `derived` stand one step above `base`? Both compared without bit 0 (rules 51 and 71, protocol >= 96). */
export const isDerivedFrom = (derived: bigint, base: bigint): boolean =>
  withoutPrimaryBit(base + SYNC_UUID_STEP) === withoutPrimaryBit(derived);

/** Becoming SyncSource or PausedSyncS: `syncUuid` is for P_SYNC_UUID, once the set is durable (D7). */
export const startAsSource = (set: UuidSet, random: bigint): { set: UuidSet; syncUuid: bigint } => {
  const syncUuid = derivedSyncUuid(set.bitmap) ?? ordinary(random);
  return { set: rotateBitmap(set, syncUuid), syncUuid };
};

/** P_SYNC_UUID arrived: while it is being synced a target's generation is the sync UUID, relative to nothing. */
export const startAsTarget = (set: UuidSet, syncUuid: bigint, primary: boolean): UuidSet => ({
  ...setCurrent(set, syncUuid, primary),
  bitmap: 0n,
});

/** A resync ended without failed blocks, source. */
export const finishAsSource = (set: UuidSet): UuidSet => setBitmap(set, 0n);

/** A resync ended without failed blocks, target. `peer` is the set that was received last (§3, second qualification). */
export const finishAsTarget = (set: UuidSet, peer: UuidSlots, primary: boolean): UuidSet => {
  const inherited = rotateBitmap({ ...set, bitmap: peer.bitmap, history1: peer.history1, history2: peer.history2 }, set.current);
  return setBitmap(setCurrent(inherited, peer.current, primary), 0n);
};

// ---- new-current-uuid, skip initial sync (§3) ------------------------------------------------------------------------

/** The command new-current-uuid. When it skips the initial sync, P_UUIDS with flag 8 goes out now, and `afterSkipAnnounced` follows. */
export const newCurrentByOperator = (set: UuidSet, random: bigint, primary: boolean): UuidSet =>
  newCurrent(rotateBitmap(set, 0n), random, primary);

/** The sender's second half of skip-initial-sync: the peer has the same data, so nothing is relative to anything. */
export const afterSkipAnnounced = (set: UuidSet): UuidSet => ({ ...set, bitmap: 0n });

/** A peer in sync begins a generation while connected: ours is now its predecessor, and nothing is relative to it. */
export const followAnnounced = (set: UuidSet, peerCurrent: bigint, primary: boolean): UuidSet =>
  setBitmap(setCurrent(rotateBitmap(set, set.current), peerCurrent, primary), 0n);

/** The receiver's half: adopts the announced generation. Allowed while Connected with an own current UUID of 4 (protocol >= 90). */
export const acceptSkippedSync = (set: UuidSet, peerCurrent: bigint, primary: boolean): UuidSet => ({
  ...setCurrent(set, peerCurrent, primary),
  bitmap: 0n,
});
