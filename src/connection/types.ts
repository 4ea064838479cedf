/** State of the two streams to a peer (connection room). */
export interface Session {
  placeholder: true;
}
