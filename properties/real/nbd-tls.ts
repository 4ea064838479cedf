/**
 * NBD over TLS with other people's clients (`npm run test:nbd`): who shows a certificate of the authority is served; who shows none, one of
 * another authority, or speaks in the clear, is sent away with one line in the log, while a client beside them is served on.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, startPair, type Pair } from '../../real/demo/machine.js';
import type { Check } from './nbd-clients.js';

/** Each is the daemons' certificate and the clients' (libnbd and QEMU look for other names than a server does); `bare` has the authority only. */
const folders = ['good', 'foreign', 'bare'] as const;

function openssl(...words: string[]): void {
  const { status, stderr, error } = spawnSync('openssl', words, { encoding: 'utf8' });
  if (error || status !== 0) throw new Error(`openssl ${words[0]}: ${error?.message ?? stderr.trim()}`);
}

/**
 * The folders below `parent`. What `foreign` shows is signed by another authority that has taken the name of ours (else a client would keep it
 * to itself); whom it trusts is ours.
 */
function makeCertificates(parent: string): void {
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const names = join(parent, 'names');
  writeFileSync(names, 'subjectAltName=DNS:alpha,DNS:beta,DNS:localhost,IP:127.0.0.1\n');
  for (const authority of ['ours', 'theirs']) {
    openssl('req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=authority', '-keyout', join(parent, `${authority}-key.pem`), '-out', join(parent, `${authority}.pem`));
  }
  for (const folder of folders) {
    const inside = (name: string): string => join(parent, folder, name);
    mkdirSync(join(parent, folder));
    spawnSync('cp', [join(parent, 'ours.pem'), inside('ca-cert.pem')]);
    if (folder === 'bare') continue;
    const authority = folder === 'good' ? 'ours' : 'theirs';
    openssl('req', ...newKey, '-subj', `/CN=${folder}`, '-keyout', inside('server-key.pem'), '-out', join(parent, 'request'));
    const signed = ['-CA', join(parent, `${authority}.pem`), '-CAkey', join(parent, `${authority}-key.pem`), '-CAcreateserial', '-days', '2', '-extfile', names];
    openssl('x509', '-req', '-in', join(parent, 'request'), ...signed, '-out', inside('server-cert.pem'));
    for (const what of ['cert', 'key']) spawnSync('cp', [inside(`server-${what}.pem`), inside(`client-${what}.pem`)]);
  }
}

/** Starts a pair whose daemons speak TLS between them too; what is to be tried on it. Needs openssl. */
export async function secureChecks(pair: Pair): Promise<Check[]> {
  const { folder } = pair.alpha;
  const certificates = join(folder, 'certificates');
  mkdirSync(certificates, { recursive: true });
  makeCertificates(certificates);
  const ports = { alpha: await freePort(), beta: await freePort() };
  await startPair(pair, (machine) => ['--tls-certificates', join(certificates, 'good'), '--nbd', `127.0.0.1:${ports[machine.name as 'alpha' | 'beta']}`]);
  const log = pair.alpha.logPath;
  const uri = (who: (typeof folders)[number]): string => `nbds://127.0.0.1:${ports.alpha}/r0?tls-certificates=${join(certificates, who)}`;
  const [source, copy] = [join(folder, 'source'), join(folder, 'copy')];
  const qemu = (who: (typeof folders)[number]): string =>
    `--object tls-creds-x509,id=tls,dir=${join(certificates, who)},endpoint=client,verify-peer=yes --image-opts driver=nbd,server.type=inet,server.host=127.0.0.1,server.port=${ports.alpha},export=r0,tls-creds=tls`;
  /** What does not come through, while a copy beside it does. */
  const refused = (command: string): string => `nbdcopy '${uri('good')}' ${copy} & beside=$!; if ${command}; then echo 'it was served'; kill $beside; exit 1; fi; wait $beside && cmp ${source} ${copy}`;
  const gone = (why: string): Check['tells'] => ({ path: log, line: new RegExp(`NBD client \\d+ at 127\\.0\\.0\\.1:\\d+ is gone: ${why}`) });
  return [
    { name: 'TLS: nbdinfo with a certificate', tools: ['nbdinfo'], command: `nbdinfo '${uri('good')}'`, shows: /protocol: newstyle-fixed with TLS/ },
    {
      name: 'TLS: nbdcopy in and out, over several connections',
      tools: ['nbdcopy', 'nbdinfo'],
      command: `head -c $((48<<20)) /dev/urandom > ${source} && truncate -s $(nbdinfo --size '${uri('good')}') ${source} && nbdcopy --connections=4 --flush ${source} '${uri('good')}' && nbdcopy '${uri('good')}' ${copy} && cmp ${source} ${copy}`,
    },
    { name: 'TLS: qemu-io writes, reads, flushes', tools: ['qemu-io'], command: `qemu-io ${qemu('good')} -c 'write -P 5 50M 2M' -c 'read -P 5 50M 2M' -c 'write -z 50M 2M' -c 'read -P 0 50M 2M' -c flush` },
    { name: 'TLS: no certificate (nbdinfo)', tools: ['nbdinfo', 'nbdcopy'], command: refused(`nbdinfo '${uri('bare')}'`), tells: gone('no TLS: it shows no certificate') },
    { name: "TLS: another authority's certificate (nbdinfo)", tools: ['nbdinfo', 'nbdcopy'], command: refused(`nbdinfo '${uri('foreign')}'`), tells: gone('no TLS: its certificate is not signed by the authority in ca-cert.pem') },
    { name: 'TLS: no certificate (qemu-io)', tools: ['qemu-io', 'nbdcopy'], command: refused(`qemu-io ${qemu('bare')} -c 'read 0 4k'`), tells: gone('no TLS: it shows no certificate') },
    { name: 'TLS: a client that speaks in the clear (nbdinfo)', tools: ['nbdinfo', 'nbdcopy'], command: refused(`nbdinfo 'nbd://127.0.0.1:${ports.alpha}/r0'`), tells: gone('it speaks in the clear, and here everybody speaks TLS') },
    { name: 'TLS: who was served before is served on', tools: ['nbdcopy'], command: `nbdcopy '${uri('good')}' ${copy} && cmp ${source} ${copy}` },
  ];
}
