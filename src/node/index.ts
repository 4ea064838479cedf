/** The core's way in for drivers: make a node, or one from a snapshot or a state. */
export { createNode, nodeOf, restoreNode } from './node.js';
