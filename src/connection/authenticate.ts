/**
 * Authentication of the peer, when `cram-hmac-alg` is set here (wire-protocol.md §3.3): each side sends a challenge and answers the
 * other's with an HMAC under the shared secret. It stands between the features and everything else, so that who does not know the
 * secret is told nothing of us, and nothing that it sends is looked at (B181).
 */

import { assert } from '../model/core.js';
import type { Core } from '../model/core.js';
import { setTimer } from '../model/timers.js';
import type { Connection } from '../model/types.js';
import { isWireError } from '../wire/errors.js';
import { writeBigU64 } from '../wire/bytes.js';
import type { Packet } from '../wire/packets.js';
import { pullPacket } from '../wire/reassembly.js';
import { endByWireError, loseConnection, refuseConnection } from './loss.js';
import { handshakeUs } from './periods.js';
import { queuePacket } from './send.js';

/** DRBD 9 takes no other length. */
const CHALLENGE_BYTES = 64;

/** Our challenge goes out. The peer's may be there already: `continueAuthentication` follows. */
export function startAuthentication(core: Core, connection: Connection): void {
  const { session } = connection;
  assert(session.data !== undefined, 'authentication has a data stream');
  const challenge = new Uint8Array(CHALLENGE_BYTES);
  for (let at = 0; at < CHALLENGE_BYTES; at += 8) writeBigU64(challenge, at, core.environment.random64());
  session.phase = 'authentication';
  session.authentication = { challenge, isAnswered: false };
  queuePacket(core, connection, session.data, { packet: 'P_AUTH_CHALLENGE', volume: 0, challenge });
  waitForPeer(core, connection);
}

/** Takes what the peer has sent of it. True when the peer has shown that it knows the secret; what follows on data is not touched. */
export function continueAuthentication(core: Core, connection: Connection): boolean {
  const { session } = connection;
  const { data } = session;
  assert(data !== undefined, 'authentication has a data stream');
  while (!session.isOver) {
    const packet = pullPacket(data.decoder, session.receiving, data.chunk);
    if (packet === undefined) return false;
    if (isWireError(packet)) endByWireError(core, connection, packet);
    else if (!session.authentication!.isAnswered) answerChallenge(core, connection, packet);
    else if (judgeResponse(core, connection, packet)) {
      session.authentication = undefined;
      return true;
    }
  }
  return false;
}

/** A peer that sends something else instead does not authenticate: only an operator can mend that. */
function answerChallenge(core: Core, connection: Connection, packet: Packet): void {
  const { session } = connection;
  const state = session.authentication!;
  if (packet.packet !== 'P_AUTH_CHALLENGE') return refuseConnection(core, connection, `the peer does not authenticate itself: ${packet.packet}`);
  // Whoever sends our own challenge back wants us to answer it for him (B182).
  if (isEqual(packet.challenge.subarray(0, CHALLENGE_BYTES), state.challenge)) return refuseConnection(core, connection, 'our own challenge came back');
  state.isAnswered = true;
  queuePacket(core, connection, session.data!, { packet: 'P_AUTH_RESPONSE', volume: 0, response: hmac(core, connection, packet.challenge) });
  waitForPeer(core, connection);
}

/** Something else than a response is an accident and tried again; a wrong one is a wrong secret. */
function judgeResponse(core: Core, connection: Connection, packet: Packet): boolean {
  const expected = hmac(core, connection, connection.session.authentication!.challenge);
  if (packet.packet !== 'P_AUTH_RESPONSE' || packet.response.length !== expected.length) {
    loseConnection(core, connection, 'ProtocolError', `instead of a response to our challenge: ${packet.packet}`);
    return false;
  }
  if (isEqual(packet.response, expected)) return true;
  refuseConnection(core, connection, 'Authentication of peer failed');
  return false;
}

function waitForPeer(core: Core, connection: Connection): void {
  setTimer(core, 'handshake', connection.resource, connection.peer, -1, handshakeUs(connection));
}

function hmac(core: Core, connection: Connection, challenge: Uint8Array): Uint8Array {
  const { cramHmacAlg, sharedSecret } = connection.config.net;
  const key = Uint8Array.from(sharedSecret, (character) => character.charCodeAt(0));
  const answer = core.environment.hmac(cramHmacAlg, key, [challenge]);
  assert(answer !== undefined, `the driver does not know ${cramHmacAlg} any more`);
  return answer;
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, index) => byte === b[index]);
