/** The application that a setup asks for. */

import type { RandomStream, Setup, Workload } from '../types.js';
import { recordedWorkload } from './recorded.js';
import { syntheticWorkload } from './synthetic.js';

export function makeWorkload(setup: Setup, random: RandomStream): Workload {
  const spec = setup.workload;
  switch (spec.kind) {
    case 'none':
      return { poll: () => ({ do: 'finished' }), completed: () => {}, interrupted: () => {} };
    case 'synthetic':
      return syntheticWorkload(spec, setup.hosts[0]!.config.volumes.map((volume) => volume.volume), random);
    case 'recorded':
      return recordedWorkload(spec);
    default:
      return spec satisfies never;
  }
}
