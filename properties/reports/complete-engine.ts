/** The fake simulator with nothing on its lists but what every sweep of it reaches. */

import type { Engine } from '../../reports/engine-types.js';
import { engine as fake } from './fake-engine.js';

const reached = ['34', '40', 'P_DATA', 'a resync was interrupted'];

export const engine: Engine = {
  ...fake,
  scenarios: fake.scenarios.map((scenario) => ({ ...scenario, sometimes: scenario.sometimes.filter((name) => reached.includes(name)) })),
  reachable: {
    rules: fake.reachable.rules.filter(({ name }) => reached.includes(name)),
    states: [{ name: 'conn:Connected', reachable: true }],
    packets: fake.reachable.packets.filter(({ name }) => reached.includes(name)),
  },
};
