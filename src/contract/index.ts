/** The only door between the core and whoever drives it. */

export type * from './input.js';
export type * from './output.js';
export type * from './command.js';
export type * from './environment.js';
export type * from './node.js';
export type * from '../config/types.js';
