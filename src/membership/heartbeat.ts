/**
 * The heartbeat message: one small datagram that says "I am here, this is my role for this resource". Versioned, so that a
 * later release may say more. Datagrams may be lost, repeated, late or anybody's: what does not parse is ignored.
 */

import { Role } from '../state/states.js';

export interface Heartbeat {
  resource: string;
  /** The sender's role; never Unknown. */
  role: Role;
}

/** Bytes: 'L', 'S', version, role, length of the name, the name (one byte a character; configuration allows ASCII only). */
const PREFIX = [0x4c, 0x53] as const;
const VERSION = 1;
const HEADER_BYTES = 5;

export const encodeHeartbeat = ({ resource, role }: Heartbeat): Uint8Array => {
  const bytes = new Uint8Array(HEADER_BYTES + resource.length);
  bytes.set([...PREFIX, VERSION, role, resource.length]);
  for (let index = 0; index < resource.length; index++) bytes[HEADER_BYTES + index] = resource.charCodeAt(index);
  return bytes;
};

/** Undefined for anything that is not exactly one heartbeat of this version. */
export const decodeHeartbeat = (bytes: Uint8Array): Heartbeat | undefined => {
  const [first, second, version, role, length] = bytes;
  if (first !== PREFIX[0] || second !== PREFIX[1] || version !== VERSION || length === undefined) return undefined;
  if (role !== Role.Primary && role !== Role.Secondary) return undefined;
  if (length === 0 || bytes.length !== HEADER_BYTES + length) return undefined;
  let resource = '';
  for (const byte of bytes.subarray(HEADER_BYTES)) resource += String.fromCharCode(byte);
  return { resource, role };
};
