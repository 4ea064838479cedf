/**
 * Why a disk cannot be attached, as far as its metadata and its sizes decide it: DRBD's configuration result codes with
 * drbdsetup's texts (node-states.md §2).
 */

/** Code → what drbdsetup prints for it. */
export const attachRefusals = {
  111: 'Low.dev. smaller than requested DRBD-dev. size.',
  112: 'Meta device too small.',
  116: 'Lower device / meta device / index combination invalid.',
  119: 'No valid meta-data signature found.',
  165: 'Unclean meta-data found.',
  170: 'Implicit device shrinking not allowed. See kernel log.',
} as const;

export type AttachCode = keyof typeof attachRefusals;

export interface Refusal {
  code: AttachCode;
  /** DRBD's text for the code. */
  text: string;
  /** What exactly is wrong here, for the log. */
  detail: string;
}

export type Result<T> = { ok: true; value: T } | { ok: false; refusal: Refusal };

export const refusal = (code: AttachCode, detail: string): Refusal => ({ code, text: attachRefusals[code], detail });

export const refused = (code: AttachCode, detail: string): { ok: false; refusal: Refusal } => ({ ok: false, refusal: refusal(code, detail) });
