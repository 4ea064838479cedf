/** The application that a setup asks for. */

import type { RandomStream, Setup, Workload } from '../types.js';
import { listedWorkload } from './listed.js';
import { recordedWorkload } from './recorded.js';
import { syntheticWorkload } from './synthetic.js';
import { volumesOf } from '../spec.js';

export function makeWorkload(setup: Setup, random: RandomStream): Workload {
  const spec = setup.workload;
  switch (spec.kind) {
    case 'none':
      return { poll: () => ({ do: 'finished' }), completed: () => {}, interrupted: () => {} };
    case 'synthetic':
      return syntheticWorkload(spec, volumesOf(setup.hosts[0]!).map((volume) => volume.volume), random);
    case 'recorded':
      return recordedWorkload(spec);
    case 'listed':
      return listedWorkload(spec.requests);
    default:
      return spec satisfies never;
  }
}
