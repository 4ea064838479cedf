/**
 * Maps whose entries come and go thousands of times a second. A map that has moved to another table leaves the old one linked to it
 * (V8), so once one of its tables is old for the garbage collector, every later one is kept, with all that stood in it, until the next full
 * collection: a fifth of the daemon's time under reads went into copying what was long over.
 */

/** The map without this entry; one that is empty then is made anew, and linked to nothing. */
export const without = <K, V>(map: Map<K, V>, key: K): Map<K, V> => {
  map.delete(key);
  return map.size === 0 ? new Map() : map;
};
