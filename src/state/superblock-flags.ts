/**
 * Which flags of the superblock follow from the state (node-states.md §6.4). They are what a crashed node knows of itself
 * when it comes back: whether it was Primary, whether its data is whole, whether its peer was behind.
 */

import { Conn, Disk, Role, type State } from './states.js';

/** MDF flags that a state determines; FULL_SYNC and AL_DISABLED are not among them and stay, AL_CLEAN is cleared while attached. */
export interface StateFlags {
  consistent: boolean;
  primaryInd: boolean;
  connectedInd: boolean;
  wasUpToDate: boolean;
  peerOutDated: boolean;
  crashedPrimary: boolean;
}

/** `crashedPrimary` is the volatile flag of the attached disk. To be asked only while disk >= Inconsistent. */
export const flagsFromState = (state: State, crashedPrimary: boolean): StateFlags => {
  if (state.disk < Disk.Inconsistent) throw new Error('superblock flags of a volume without a usable disk');
  return {
    consistent: state.disk > Disk.Inconsistent,
    // A diskless Primary works on this disk: if this node crashes too, it is the one that crashed while Primary.
    primaryInd: state.role === Role.Primary || (state.pdsk < Disk.Inconsistent && state.peer === Role.Primary),
    connectedInd: state.conn > Conn.WFReportParams,
    wasUpToDate: state.disk > Disk.Outdated,
    peerOutDated: state.pdsk === Disk.Inconsistent || state.pdsk === Disk.Outdated,
    crashedPrimary,
  };
};
