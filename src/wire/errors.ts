/**
 * A peer's bytes that cannot be a packet. Errors are values: nothing in this room throws on received bytes.
 */

export interface WireError {
  error: 'bad-magic' | 'unknown-command' | 'bad-length' | 'bad-value';
  /**
   * What the rule that was broken asks for (wire-protocol.md §2, §3.2, §3.3), as the connection state to go to:
   * ProtocolError and NetworkFailure try again, Disconnecting ends StandAlone.
   */
  reaction: 'ProtocolError' | 'NetworkFailure' | 'Disconnecting';
  /** For the log. */
  detail: string;
}

/** Tells an error from a packet or a header. */
export const isWireError = (value: object): value is WireError => 'error' in value;
