/**
 * One wrong rule for each property that the tests with fast-check promise, as data: the property must fail with it. Protocol bugs that runs of the
 * simulator must catch are reports/mutants/.
 */

export interface PropertyMutant {
  /** What is wrong, in a few words. */
  summary: string;
  /** Relative to the root of the project. */
  file: string;
  /** Stands exactly once in the file. */
  oldText: string;
  newText: string;
  /** Test file, below properties/, and the property in it. */
  test: string;
  property: string;
}

export const propertyMutants: readonly PropertyMutant[] = [
  // ---- The wire ----------------------------------------------------------------------------------------------------------
  {
    summary: 'the size of a discard is read where its flags are',
    file: 'src/wire/decode.ts',
    oldText: "        flags: readU32(payload, 20),\n        sizeBytes: readU32(payload, 24),\n      };\n    }\n    case 'P_WSAME'",
    newText: "        flags: readU32(payload, 20),\n        sizeBytes: readU32(payload, 20),\n      };\n    }\n    case 'P_WSAME'",
    test: 'wire/codec',
    property: 'P_TRIM: decoding undoes encoding',
  },
  {
    summary: 'a header is read before all of it is there',
    file: 'src/wire/reassembly.ts',
    oldText: '  if (available < headerBytes) return headerBytes;\n',
    newText: '',
    test: 'wire/codec',
    property: 'a whole stream in arbitrary chunks gives its packets in order',
  },
  {
    summary: 'the payload goes on to the end of the chunk: what lies behind the packet is read',
    file: 'src/wire/reassembly.ts',
    oldText: 'bytes.subarray(frame.payloadAt, start + frame.bytes)',
    newText: 'bytes.subarray(frame.payloadAt)',
    test: 'wire/codec',
    property: 'arbitrary bytes end in packets or in an error, never in an exception, an over-read or an unbounded buffer',
  },
  {
    summary: 'lengths are not checked: arbitrary bytes throw, or are waited for without end',
    file: 'src/wire/decode.ts',
    oldText: 'if (lengthFits(name, header.length, context)) return name;',
    newText: 'if (header.length >= 0) return name;',
    test: 'wire/codec',
    property: 'arbitrary bytes end in packets or in an error, never in an exception, an over-read or an unbounded buffer',
  },
  {
    summary: 'run lengths lose what is above 32 bits (B037)',
    file: 'src/wire/run-lengths.ts',
    oldText: 'rest = (rest - low) / 2 ** taken;',
    newText: 'rest = (rest - low) >>> taken;',
    test: 'wire/bitmaps',
    property: 'any sequence of runs survives the code, and a code cut anywhere is known to be cut',
  },
  {
    summary: 'a code that ends inside a run is taken for whole',
    file: 'src/wire/run-lengths.ts',
    oldText: '    if (end > codeBits) return undefined;\n',
    newText: '',
    test: 'wire/bitmaps',
    property: 'any sequence of runs survives the code, and a code cut anywhere is known to be cut',
  },
  // ---- Bitmaps -----------------------------------------------------------------------------------------------------------
  {
    summary: 'a bit that is set already is counted again (B034)',
    file: 'src/metadata/bitmap.ts',
    oldText: '    newly += after - before;\n  }\n  return newly;\n}\n\n/** Clears',
    newText: '    newly += to - from;\n  }\n  return newly;\n}\n\n/** Clears',
    test: 'metadata/bitmap',
    property: 'small devices of any size, also of odd sectors: as a set of bits done naively',
  },
  {
    summary: 'a block that a write touches in part is cleared with it',
    file: 'src/metadata/bitmap.ts',
    oldText: 'const first = Math.ceil(sector / SECTORS_PER_BIT);',
    newText: 'const first = Math.floor(sector / SECTORS_PER_BIT);',
    test: 'metadata/bitmap',
    property: 'small devices of any size, also of odd sectors: as a set of bits done naively',
  },
  // ---- The activity log --------------------------------------------------------------------------------------------------
  {
    summary: 'a write may go before the transaction that makes its extent active is on disk',
    file: 'src/volume/activity-log.ts',
    oldText: "    if (log.extents[index] !== log.committed[index]) grant = 'pending';\n",
    newText: '',
    test: 'volume/activity-log',
    property: 'the log grants, evicts and remembers what the model does',
  },
  {
    summary: 'an extent that waits for its transaction counts as an idle slot',
    file: 'src/volume/activity-log.ts',
    oldText: 'else if (log.lru.has(index)) idleHits++;',
    newText: 'else if (log.references[index] === 0) idleHits++;',
    test: 'volume/activity-log',
    property: 'the log grants, evicts and remembers what the model does',
  },
  {
    summary: 'the extent that was used last goes first',
    file: 'src/volume/activity-log.ts',
    oldText: 'index = log.lru.keys().next().value;',
    newText: 'index = [...log.lru.keys()].at(-1);',
    test: 'volume/activity-log',
    property: 'the log grants, evicts and remembers what the model does',
  },
  {
    summary: 'transactions are taken by their numbers, also when those have wrapped',
    file: 'src/metadata/activity-log.ts',
    oldText: 'found.sort((a, b) => distance(last, a.number) - distance(last, b.number));',
    newText: 'found.sort((a, b) => a.number - b.number + 0 * last);',
    test: 'metadata/activity-log',
    property: 'a replay gives the active set after each transaction, over any wrap of ring, context and number',
  },
  {
    summary: 'a torn block is believed: torn at a sector',
    file: 'src/metadata/activity-log.ts',
    oldText: ' || view.getUint32(CRC_AT) !== crcOf(bytes)) return',
    newText: ') return',
    test: 'metadata/activity-log',
    property: 'the newest block torn at any sector: the set before it, in a ring that began at 0',
  },
  {
    summary: 'the checksum covers the first half of a block: torn at a byte',
    file: 'src/metadata/activity-log.ts',
    oldText: 'noCrc), bytes, CRC_AT + 4);',
    newText: 'noCrc), bytes, CRC_AT + 4, 1000);',
    test: 'metadata/activity-log',
    property: 'the newest block torn at any byte: the set before it or the one after it',
  },
  // ---- Metadata ----------------------------------------------------------------------------------------------------------
  {
    summary: 'a superblock of another granularity throws',
    file: 'src/metadata/superblock.ts',
    oldText: 'if (bytesPerBit !== 4096) return refused(',
    newText: 'if (bytesPerBit !== 4096) throw new RangeError(`${bytesPerBit}`); else if (bytesPerBit < 0) return refused(',
    test: 'metadata/superblock',
    property: 'any bytes are a superblock or refused, never an exception',
  },
  {
    summary: 'an impossible size throws, as half a superblock may have',
    file: 'src/metadata/superblock.ts',
    oldText: 'if (lastAgreedSectors > BigInt(SECTORS_MAX)) return refused(119, `la_size_sect ${lastAgreedSectors} is beyond any device`);',
    newText: 'checked(Number(lastAgreedSectors), 0, 2 ** 40);',
    test: 'metadata/superblock',
    property: 'a superblock torn at any byte is one or is refused; torn at a sector it is the old or the new one',
  },
  {
    summary: 'the log is emptied before what it says is on disk (D19)',
    file: 'src/metadata/apply-al.ts',
    oldText: "  steps.push({ step: 'flush' });\n  emptyRing(",
    newText: '  emptyRing(',
    test: 'metadata/apply-al',
    property: 'power may fail at any point of the plan, any number of times: in the end all that was active is marked',
  },
  // ---- Generations and configuration -------------------------------------------------------------------------------------
  {
    summary: 'who crashed is the source, seen from itself only',
    file: 'src/generations/compare.ts',
    oldText: "return { result: selfCrashed && !input.peerIsDrbd9 ? 1 : -1, rule: '40' };",
    newText: "return { result: 1, rule: '40' };",
    test: 'generations/compare',
    property: 'swapping the nodes mirrors the result: every pair of sets from a pool, and every rule is among them',
  },
  {
    summary: 'quotes in a text are written as they are',
    file: 'real/conf/dump.ts',
    oldText: "text.replaceAll(/[\"\\\\]/g, '\\\\$&')",
    newText: 'text',
    test: 'real/config',
    property: 'the normal form means the same, and is its own normal form',
  },
  // ---- The daemon ----------------------------------------------------------------------------------------------------------
  {
    summary: 'bytes of an output are copied over those of an input',
    file: 'real/daemon/entry-log.ts',
    oldText: '    page.used += bytes.length;\n',
    newText: '',
    test: 'real/entry-log',
    property: 'what is put into a log comes out of it',
  },
  {
    summary: 'the log does not say in which pages lies what it has recorded',
    file: 'real/daemon/entry-log.ts',
    oldText: '    for (const page of this.bytePages) held.add(page);\n',
    newText: '',
    test: 'real/entry-log',
    property: 'what lies in an arena is recorded where it lies, and stays there',
  },
  {
    summary: 'what is pinned is used again',
    file: 'real/arena.ts',
    oldText: 'new Set<ArrayBufferLike>(this.pins.keys())',
    newText: 'new Set<ArrayBufferLike>()',
    test: 'real/arena',
    property: 'pages that somebody refers to stay as they are, and the others are used again',
  },
  {
    summary: 'what a core keeps in a map is not held',
    file: 'src/node/holds.ts',
    oldText: '        look(entry);\n      }',
    newText: '      }',
    test: 'node/lasting',
    property: 'failover: nodes that keep what lasts run as those that copy it',
  },
  {
    summary: 'a chunk in the same memory is taken for one that follows',
    file: 'src/wire/reassembly.ts',
    oldText: 'held.buffer === part.buffer && held.byteOffset + heldEnd === part.byteOffset',
    newText: 'held.buffer === part.buffer',
    test: 'wire/codec',
    property: 'chunks that last are kept where they lie, while they follow each other; nothing is written there',
  },
];
