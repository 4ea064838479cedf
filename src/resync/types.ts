/** State of a bitmap exchange and of a running resync (resync room). */
export interface ResyncState {
  placeholder: true;
}
export interface BitmapReceiver {
  placeholder: true;
}
