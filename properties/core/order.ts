// stub
import type { Pair } from './pair.js';
export interface OrderWatch { finish(): void }
export const watchOrder = (_pair: Pair): OrderWatch => ({ finish: () => {} });
