/** DRBD's default of each option (configuration.md §3). */

import type { DiskOptions, NetOptions } from './types.js';

export const defaultDiskOptions: DiskOptions = {
  onIoError: 'detach',
  fencing: 'dont-care',
  diskFlushes: true,
  diskDrain: true,
  mdFlushes: true,
  resyncRate: 250,
  alExtents: 1237,
  alUpdates: true,
  readBalancing: 'prefer-local',
  discardZeroesIfAligned: true,
  cPlanAhead: 20,
  cDelayTarget: 10,
  cFillTarget: 100,
  cMaxRate: 102400,
  cMinRate: 250,
  diskTimeout: 0,
};

export const defaultNetOptions: NetOptions = {
  protocol: 'C',
  timeout: 60,
  maxEpochSize: 2048,
  maxBuffers: 2048,
  connectInt: 10,
  pingInt: 10,
  pingTimeout: 5,
  koCount: 7,
  allowTwoPrimaries: false,
  afterSb0Pri: 'disconnect',
  afterSb1Pri: 'disconnect',
  afterSb2Pri: 'disconnect',
  alwaysAsbp: false,
  rrConflict: 'disconnect',
  onCongestion: 'block',
  congestionFill: 0,
  congestionExtents: 1237,
  cramHmacAlg: '',
  sharedSecret: '',
  dataIntegrityAlg: '',
  useRle: true,
  socketCheckTimeout: 0,
  sndbufSize: 0,
  verifyAlg: '',
};
