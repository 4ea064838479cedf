/** The core's way in for drivers: make a node, or one from a snapshot. */
export { createNode, restoreNode } from './node.js';
