/** The real engine with one mutant in it. */

import { mutants } from '../../reports/mutants/list.js';
import { openWorkshop } from '../../reports/mutants/workshop.js';

/** `module`: its address. */
export function mutantEngine(id: string): { module: string; remove(): void } {
  const workshop = openWorkshop();
  const problem = workshop.install(mutants.find((one) => one.id === id)!);
  if (problem !== undefined) throw new Error(`${id}: ${problem}`);
  return { module: workshop.engineModule.href, remove: () => workshop.remove() };
}
