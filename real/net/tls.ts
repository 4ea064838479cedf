/**
 * Mutual TLS for what leaves the machine: the streams between the daemons, and NBD over TCP. Who connects and who accepts both show a
 * certificate that the authority in the folder has signed, and between the daemons one that names the peer, as the configuration does.
 * The folder and its files are named as nbdkit and QEMU name theirs.
 */

import { readFileSync } from 'node:fs';
import type { NetConnectOpts, Socket } from 'node:net';
import { join } from 'node:path';
import { checkServerIdentity, connect, createServer, createSecureContext, type ConnectionOptions, type PeerCertificate, type SecureContext, type Server, type TLSSocket } from 'node:tls';
import { reasonOf } from '../reasons.js';

/** Older versions have flaws, and no peer of ours needs them. */
const MIN_VERSION = 'TLSv1.3';
/** Who has not shown a certificate by then is sent away. */
const HANDSHAKE_MS = 10_000;

export class TlsFolder {
  private context: SecureContext;
  private readonly servers = new Set<Server>();

  /** Throws an error with one line: a file cannot be read, or is not what it should be. */
  constructor(private readonly folder: string) {
    this.context = this.read();
  }

  /** The files may be new ones. Connections that are open stay as they are; when a file is bad, everything does, and this throws. */
  reload(): void {
    this.context = this.read();
    for (const server of this.servers) server.setSecureContext({ ...this.files(), minVersion: MIN_VERSION });
  }

  /** A socket to `peer`, whose certificate must name it or its address; `secureConnect` follows. */
  connect(options: { host: string; port: number; localAddress: string; peer: string }): TLSSocket {
    const { peer, ...where } = options;
    // Node takes what it takes for plain sockets too; its types do not say so.
    const plain: NetConnectOpts = { ...where, allowHalfOpen: true };
    const socket = connect({
      ...(plain as ConnectionOptions),
      secureContext: this.context,
      minVersion: MIN_VERSION,
      checkServerIdentity: (_host, certificate) => nameError(certificate, [peer, where.host]),
    });
    socket.setNoDelay(true);
    return socket;
  }

  /** A server that hands on sockets with a good certificate, and says of others why they went. */
  server(accepted: (socket: TLSSocket) => void, refused: (from: string | undefined, why: string) => void): Server {
    // Node would send who has a bad certificate away without a word.
    const options = { ...this.files(), minVersion: MIN_VERSION, requestCert: true, rejectUnauthorized: false, handshakeTimeout: HANDSHAKE_MS, allowHalfOpen: true, noDelay: true } as const;
    const server = createServer(options, (socket) => {
      if (socket.authorized) return accepted(socket);
      refused(socket.remoteAddress, certificateReason(socket));
      socket.destroy();
    });
    server.on('tlsClientError', (error, socket) => refused(socket.remoteAddress, tlsReason(error)));
    this.servers.add(server);
    server.on('close', () => this.servers.delete(server));
    return server;
  }

  /** A socket that spoke plainly until now becomes a secure one. */
  upgrade(socket: Socket, secured: (socket: TLSSocket) => void, failed: (why: string) => void): void {
    const server = this.server(
      (secure) => {
        this.servers.delete(server);
        secured(secure);
      },
      (_from, why) => {
        this.servers.delete(server);
        failed(why);
      },
    );
    server.emit('connection', socket);
  }

  private files(): { ca: Buffer; cert: Buffer; key: Buffer } {
    const read = (name: string): Buffer => readFileSync(join(this.folder, name));
    return { ca: read('ca-cert.pem'), cert: read('server-cert.pem'), key: read('server-key.pem') };
  }

  private read(): SecureContext {
    try {
      return createSecureContext({ ...this.files(), minVersion: MIN_VERSION });
    } catch (error) {
      throw new Error(`TLS certificates in ${this.folder}: ${tlsReason(error as Error)}`);
    }
  }
}

/** Why a certificate names none of these, or undefined. */
export function nameError(certificate: PeerCertificate, names: readonly string[]): Error | undefined {
  const errors = names.map((name) => checkServerIdentity(name, certificate));
  return errors.includes(undefined) ? undefined : errors[0];
}

const UNKNOWN_AUTHORITY = 'its certificate is not signed by the authority in ca-cert.pem';
/** By the names that OpenSSL has for what is wrong with a certificate. */
const certificateReasons: Partial<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
};

/** Why the certificate of a client is not good enough. */
function certificateReason(socket: TLSSocket): string {
  if (Object.keys(socket.getPeerCertificate()).length === 0) return 'it shows no certificate';
  // A name, although the types say an error.
  const name = String(socket.authorizationError);
  return certificateReasons[name] ?? `its certificate is refused: ${name}`;
}

/** One line; OpenSSL's own texts begin with a thread and a number. */
export function tlsReason(error: Error): string {
  const { reason, code } = error as Error & { reason?: unknown; code?: unknown };
  if (typeof code === 'string' && code.startsWith('ERR_SSL') && typeof reason === 'string') return reason;
  return reasonOf(error).split('\n')[0]!;
}

/** What a TLS socket brings, as the core wants it: the `slice` of a Buffer copies nothing, and a snapshot refuses to hold one. */
export const plainBytes = ({ buffer, byteOffset, length }: Buffer): Uint8Array => new Uint8Array(buffer, byteOffset, length);
