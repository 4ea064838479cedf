// The configuration language: what files mean, what is refused and where, and that the normal form means the same.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dumpConfiguration } from '../../real/conf/dump.js';
import { parseText } from '../../real/conf/grammar.js';
import { loadConfiguration } from '../../real/conf/load.js';
import { meaningOf, type Configuration } from '../../real/conf/meaning.js';
import { sections } from '../../real/conf/options.js';
import { ConfigError } from '../../real/conf/tree.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-conf-'));
test.after(() => rmSync(folder, { recursive: true }));

const meaning = (text: string, node = 'alpha'): Configuration => meaningOf(parseText('r0.res', text), node);
const local = (text: string, node?: string) => meaning(text, node).resources[0]!.local!;

const hosts = `
  on alpha { address 10.0.0.1:7788; }
  on beta { address 10.0.0.2:7788; }`;
const plain = (inner: string): string => `resource r0 { device /dev/drbd1; disk /dev/vg/r0; meta-disk internal; ${inner} ${hosts} }`;

function errorOf(text: string): string {
  try {
    meaning(text);
  } catch (error) {
    assert.instance(error, ConfigError);
    return (error as Error).message;
  }
  return assert.unreachable(`no error in ${text}`) as never;
}

test('a two-node file of DRBD 8.4 loads', () => {
  const { config, volumes, peers } = local(`
    # the usual
    global { usage-count no; }
    common { net { protocol C; } disk { resync-rate 10M; no-disk-flushes; } startup { wfc-timeout 120; } }
    resource "r0" {
      protocol b;
      syncer { rate 33M; al-extents 3389; }
      net { max-buffers 8000; after-sb-0pri discard-node-beta; cram-hmac-alg sha1; shared-secret "s e c"; }
      options { on-no-data-accessible suspend-io; }
      handlers { fence-peer "/usr/lib/fence \\"now\\""; }
      on alpha { device /dev/drbd1 minor 1; disk "/dev/vg/r 0"; flexible-meta-disk /dev/vg/md; address ipv4 10.0.0.1:7788; }
      on beta  { device drbd7; disk /dev/sdb1; meta-disk /dev/vg/md [3]; address 10.0.0.2:7789; }
    }`);
  assert.is(config.peers[0]!.name, 'beta');
  const { net } = config.peers[0]!;
  assert.equal([net.protocol, net.maxBuffers, net.afterSb0Pri, net.pingInt, net.sharedSecret], ['B', 8000, 'discard-remote', 10, 's e c']);
  const { disk, minor, metaDisk } = config.volumes[0]!;
  assert.equal([minor, metaDisk.kind, disk.resyncRate, disk.diskFlushes, disk.alExtents], [1, 'flexible', 33 * 1024, false, 3389]);
  assert.is(config.onNoDataAccessible, 'suspend-io');
  assert.equal(volumes, [{ volume: 0, device: '/dev/drbd1', diskPath: '/dev/vg/r 0', metaPath: '/dev/vg/md' }]);
  assert.equal(peers, [{ name: 'beta', local: { host: '10.0.0.1', port: 7788 }, remote: { host: '10.0.0.2', port: 7789 } }]);
});

test('the other host sees it the other way round', () => {
  const { config, peers } = local(plain('net { after-sb-0pri discard-node-beta; }'), 'beta');
  assert.is(config.peers[0]!.net.afterSb0Pri, 'discard-local');
  assert.is(peers[0]!.name, 'alpha');
});

test('volumes: of the resource, of the host, and which disk options win', () => {
  const { config, volumes } = local(`
    common { disk { c-min-rate 1; c-max-rate 1000; c-fill-target 1; } }
    resource r0 {
      volume 0 { device minor 3; meta-disk internal; disk { c-min-rate 10; al-extents 1000; } }
      volume 1 { device minor 4; disk /dev/b; meta-disk internal; }
      disk { c-max-rate 2000; }
      on alpha { volume 0 { disk /dev/a; disk { c-fill-target 3; } } address 10.0.0.1:1; }
      on beta  { volume 0 { disk /dev/c; } address 10.0.0.2:1; }
    }`);
  assert.equal(volumes.map(({ diskPath, device }) => [diskPath, device]), [['/dev/a', '/dev/drbd3'], ['/dev/b', '/dev/drbd4']]);
  const { cMinRate, cMaxRate, cFillTarget, alExtents } = config.volumes[0]!.disk;
  // The disk section of a volume of the resource is the weakest of all.
  assert.equal([cMinRate, cMaxRate, cFillTarget, alExtents], [1, 2000, 3, 1000]);
});

test('a resource without a section for this machine is ignored', () => {
  assert.is(meaning(plain(''), 'gamma').resources[0]!.local, undefined);
});

test('units are converted to the unit of the option, rounding up', () => {
  const value = (option: string): number => local(plain(`disk { ${option}; }`)).config.volumes[0]!.disk.resyncRate;
  assert.equal([value('resync-rate 300'), value('resync-rate 10M'), value('resync-rate 1g'), value('resync-rate 1025s')], [300, 10240, 1048576, 513]);
});

test('what is wrong is said with file, line and what was expected', () => {
  const expected: [string, RegExp][] = [
    ['\nresorce r0 { }', /^r0\.res:2: 'resorce' where common, global, include, resource, skip or the end of the file was expected$/],
    ['resource r0 {\n  disk /dev/a\n}', /^r0\.res:3: '}' where ';' was expected$/],
    ['resource r0 {', /^r0\.res:1: the file ends where '}', .* was expected$/],
    [plain('\nnet { tiemout 3; }'), /^r0\.res:2: there is no option 'tiemout' in net \(there are .*timeout/],
    [plain('\n\nnet { timeout 601; }'), /^r0\.res:3: timeout '601' is not possible: a number in 1\.\.600 was expected$/],
    [plain('net { protocol D; }'), /protocol 'D' is not possible: one of A, B, C was expected$/],
    [plain('disk { disk-flushes maybe; }'), /'maybe' is not possible: yes or no was expected$/],
    [plain('net { timeout; }'), /timeout needs a value: a number in 1\.\.600$/],
    [plain('net { timeout 3 4; }'), /'4' where ';' was expected: timeout takes one value$/],
    [plain('net { } net { }'), /a second net section$/],
    ['resource r0 { on alpha { address 10.0.0.1:1; } }', /host alpha has no volume$/],
    ['resource r0 { device /dev/drbd1; meta-disk internal; on alpha { address 10.0.0.1:1; } }', /volume 0 of host alpha has no disk$/],
    ['resource r0 { device /dev/drbd1 minor 2; disk /dev/a; meta-disk internal; on alpha { address 10.0.0.1:1; } }', /\/dev\/drbd1 and minor 2 do not agree$/],
    [plain('volume 1 { disk /dev/x; }'), /cannot be mixed$/],
    [plain('on gamma { address 10.0.0.3:1; }'), /only two are supported$/],
    [plain('') + plain('').replace('resource r0', 'resource r1'), /address 10\.0\.0\.1:7788 is already used at r0\.res:1$/],
    [plain('proxy { memlimit 3; }'), /drbd-proxy is not supported$/],
    ['resource r0 { stacked-on-top-of r1 { device /dev/drbd3; } }', /a stacked resource is not supported$/],
    [plain('disk { fencing resource-and-stonith; } net { protocol A; }'), /cannot be combined with protocol A/],
    [plain(`net { shared-secret "${'x'.repeat(70)}"; }`), /a text of up to 63 characters was expected$/],
  ];
  for (const [text, pattern] of expected) assert.match(errorOf(text), pattern);
});

test('bytes that are no tokens are told apart from a wrong order of them', () => {
  const codeOf = (text: string): number => {
    try {
      parseText('x', text);
    } catch (error) {
      return (error as ConfigError).exitCode;
    }
    return 0;
  };
  assert.equal([codeOf('resource r0 { net { @ } }'), codeOf(`${'x'.repeat(129)} y;`), codeOf('resource r0 { net }')], [2, 10, 10]);
});

test('what only tunes the kernel is accepted with a warning', () => {
  assert.equal(meaning(plain('\nnet { tcp-cork no; }')).warnings, ['r0.res:2: tcp-cork has no effect here']);
  assert.equal(meaning(plain('net { no-tcp-cork; } disk { resync-after -1; }')).warnings.length, 1);
});

test('includes are found beside the file, once each, and a missing one is told', () => {
  writeFileSync(join(folder, 'main.conf'), 'global { usage-count no; }\ninclude "r*.res";\ninclude r0.res;\n');
  writeFileSync(join(folder, 'r0.res'), plain(''));
  const { resources } = loadConfiguration(join(folder, 'main.conf'), 'alpha');
  assert.equal(resources.map(({ name }) => name), ['r0']);
  writeFileSync(join(folder, 'main.conf'), '\ninclude missing.res;\n');
  assert.throws(() => loadConfiguration(join(folder, 'main.conf'), 'alpha'), /main\.conf:2: Can not open .*missing\.res': No such file or directory/);
  assert.throws(() => loadConfiguration(join(folder, 'nowhere.conf'), 'alpha'), /Can not open/);
});

/** Any option that is accepted, with a value that is. */
const anyOption = (kind: 'disk' | 'net'): fc.Arbitrary<string> =>
  fc.constantFrom(...Object.keys(sections[kind])).chain((name) => {
    const of = sections[kind][name]!;
    if (of.kind === 'flag') return fc.constantFrom(`${name};`, `${name} yes;`, `${name} no;`, `no-${name};`);
    if (of.kind === 'enum') return fc.constantFrom(...of.values.map((value) => `${name} ${value};`));
    if (of.kind === 'number') return fc.integer({ min: of.min, max: of.max }).map((value) => `${name} ${value};`);
    return fc.stringMatching(/^[a-z "\\0-9]{1,20}$/).map((value) => `${name} "${value.replaceAll(/["\\]/g, '\\$&')}";`);
  });

test('the normal form means the same, and is its own normal form', () => {
  const arbitrary = fc.record({
    disk: fc.array(anyOption('disk'), { maxLength: 5 }),
    net: fc.array(anyOption('net'), { maxLength: 5 }),
    commonDisk: fc.array(anyOption('disk'), { maxLength: 3 }),
    volumes: fc.uniqueArray(fc.integer({ min: 0, max: 65534 }), { minLength: 1, maxLength: 3 }),
    meta: fc.constantFrom('internal', '/dev/md', '"/dev/m d"'),
  });
  let accepted = 0;
  fc.assert(
    fc.property(arbitrary, ({ disk, net, commonDisk, volumes, meta }) => {
      const blocks = volumes.map((volume, index) => `volume ${volume} { device minor ${index}; disk /dev/d${index}; meta-disk ${meta}${meta === 'internal' ? '' : ` [${index}]`}; }`);
      const text = `common { disk { ${commonDisk.join(' ')} } } resource r0 { ${blocks.join(' ')} disk { ${disk.join(' ')} } net { ${net.join(' ')} } ${hosts} }`;
      let first: Configuration;
      try {
        first = meaning(text);
      } catch (error) {
        // Options of features that are not here, or that do not go together.
        assert.instance(error, ConfigError);
        return;
      }
      accepted++;
      const dump = dumpConfiguration('r0.res', first, () => true);
      const second = meaning(dump);
      assert.equal(second.resources[0]!.local, first.resources[0]!.local);
      const linesOf = (dumped: string): string => dumped.replaceAll(/^# defined.*$/gm, '');
      assert.is(linesOf(dumpConfiguration('r0.res', second, () => true)), linesOf(dump));
    }),
    { numRuns: 80 },
  );
  assert.ok(accepted > 10, `only ${accepted} were accepted`);
});

test('no file makes it throw anything but what is wrong with the file', () => {
  const words = ['resource', 'r0', '{', '}', ';', 'net', 'disk', 'on', 'alpha', 'volume', '0', 'address', '1.2.3.4:5', 'timeout', '"', '#', '\n', 'include', '[', 'minor'];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...words), { maxLength: 30 }), (tokens) => {
      try {
        meaning(tokens.join(' '));
      } catch (error) {
        assert.instance(error, ConfigError);
      }
    }),
    { numRuns: 150 },
  );
});

test.run();
