/** The fixed newstyle negotiation of one client: options are answered until it goes on with an export, or goes. */

import type { ByteQueue } from './bytes.js';
import { chosenBy, contexts, readQueries } from './contexts.js';
import type { Export, Refusal, Volumes } from './exports.js';
import { HandshakeFlag, InfoType, NBD_MAGIC, NbdOption, OPTION_MAGIC, OPTION_REPLY_MAGIC, OptionReply, REQUEST_BYTES_MAX, TransmissionFlag } from './protocol.js';

/** Longer option data is read over and refused. */
const OPTION_BYTES_MAX = 8192;
/** Beyond this a client is not worth reading. */
const OPTION_BYTES_ABSURD = 1 << 20;
const OPTIONS_MAX = 1000;
const SECTOR = 512;
const PREFERRED = 4096;

export const isRefusal = (found: Export | Refusal): found is Refusal => 'reason' in found;

export const transmissionFlags =
  TransmissionFlag.HasFlags |
  TransmissionFlag.SendFlush |
  TransmissionFlag.SendFua |
  TransmissionFlag.SendTrim |
  TransmissionFlag.SendWriteZeroes |
  TransmissionFlag.SendDf |
  TransmissionFlag.CanMultiConn |
  TransmissionFlag.SendFastZero;

/** What a client goes on with: an export, and what it agreed to. */
export interface Agreed {
  where: Export;
  structuredReplies: boolean;
  /** Metadata contexts that it chose for this export. */
  contexts: readonly number[];
}

/** `secures`: what follows is TLS. */
export type Outcome = { result: 'waiting' } | { result: 'secures' } | { result: 'over'; reason: string } | { result: 'open'; agreed: Agreed };

const waiting: Outcome = { result: 'waiting' };
const encoder = new TextEncoder();

export class Negotiation {
  private step: 'flags' | 'option' | 'data' | 'skipping' = 'flags';
  private noZeroes = false;
  private structuredReplies = false;
  /** The contexts that were chosen last, and for which export. */
  private chosen: { name: string; contexts: readonly number[] } | undefined = undefined;
  private option = 0;
  private length = 0;
  private toSkip = 0;
  private options = 0;
  /** It asked for something before TLS was spoken, and has not spoken it yet. */
  wantsPlain = false;

  constructor(
    private readonly volumes: Volumes,
    private readonly send: (bytes: Uint8Array) => void,
    /** Nothing but TLS is talked about until it is spoken. */
    private needsTls: boolean,
  ) {
    const greeting = new DataView(new ArrayBuffer(18));
    greeting.setBigUint64(0, NBD_MAGIC);
    greeting.setBigUint64(8, OPTION_MAGIC);
    greeting.setUint16(16, HandshakeFlag.FixedNewstyle | HandshakeFlag.NoZeroes);
    send(new Uint8Array(greeting.buffer));
  }

  /** Goes on with what has arrived. */
  advance(bytes: ByteQueue): Outcome {
    for (;;) {
      switch (this.step) {
        case 'flags': {
          const flags = bytes.pull(4);
          if (!flags) return waiting;
          const value = viewOf(flags).getUint32(0);
          if ((value & ~(HandshakeFlag.FixedNewstyle | HandshakeFlag.NoZeroes)) !== 0) return { result: 'over', reason: `unknown client flags ${value}` };
          this.noZeroes = (value & HandshakeFlag.NoZeroes) !== 0;
          this.step = 'option';
          break;
        }
        case 'option': {
          const head = bytes.pull(16);
          if (!head) return waiting;
          const view = viewOf(head);
          if (view.getBigUint64(0) !== OPTION_MAGIC) return { result: 'over', reason: 'no option where one was expected' };
          if (++this.options > OPTIONS_MAX) return { result: 'over', reason: `more than ${OPTIONS_MAX} options` };
          this.option = view.getUint32(8);
          this.length = view.getUint32(12);
          if (this.length > OPTION_BYTES_ABSURD) return { result: 'over', reason: `an option of ${this.length} bytes` };
          this.toSkip = this.length;
          this.step = this.length > OPTION_BYTES_MAX ? 'skipping' : 'data';
          break;
        }
        case 'skipping': {
          this.toSkip -= bytes.skip(this.toSkip);
          if (this.toSkip > 0) return waiting;
          if (this.option === NbdOption.ExportName) return { result: 'over', reason: 'the name of an export is too long' };
          this.reply(OptionReply.TooBig, encoder.encode('the option is too long'));
          this.step = 'option';
          break;
        }
        case 'data': {
          const data = bytes.pull(this.length);
          if (!data) return waiting;
          this.step = 'option';
          const outcome = this.answer(data);
          if (outcome) return outcome;
          break;
        }
      }
    }
  }

  private answer(data: Uint8Array): Outcome | undefined {
    if (this.needsTls && this.option !== NbdOption.StartTls && this.option !== NbdOption.Abort) {
      if (this.option === NbdOption.ExportName) return { result: 'over', reason: 'it wants an export without TLS' };
      this.wantsPlain = true;
      return this.refuse(OptionReply.TlsRequired, 'this server speaks TLS only');
    }
    switch (this.option) {
      case NbdOption.StartTls:
        if (!this.needsTls) return this.refuse(OptionReply.Policy, 'there is no TLS here');
        if (data.length > 0) return this.refuse(OptionReply.Invalid, 'NBD_OPT_STARTTLS takes no data');
        this.reply(OptionReply.Ack);
        this.needsTls = false;
        this.wantsPlain = false;
        return { result: 'secures' };
      case NbdOption.ExportName: {
        // There is no way to say no but to hang up.
        const name = textOf(data);
        const found = this.volumes.find(name);
        if (isRefusal(found)) return { result: 'over', reason: found.reason };
        const reply = new DataView(new ArrayBuffer(this.noZeroes ? 10 : 134));
        reply.setBigUint64(0, BigInt(found.sizeBytes));
        reply.setUint16(8, transmissionFlags);
        this.send(new Uint8Array(reply.buffer));
        return this.open(found);
      }
      case NbdOption.Abort:
        this.reply(OptionReply.Ack);
        return { result: 'over', reason: 'the client went' };
      case NbdOption.List:
        if (data.length > 0) return this.refuse(OptionReply.Invalid, 'NBD_OPT_LIST takes no data');
        for (const { name, description } of this.volumes.list()) {
          const text = encoder.encode(name);
          const entry = new Uint8Array(4 + text.length);
          viewOf(entry).setUint32(0, text.length);
          entry.set(text, 4);
          this.reply(OptionReply.Server, entry, encoder.encode(description));
        }
        return this.reply(OptionReply.Ack);
      case NbdOption.StructuredReply:
        if (data.length > 0) return this.refuse(OptionReply.Invalid, 'NBD_OPT_STRUCTURED_REPLY takes no data');
        this.structuredReplies = true;
        return this.reply(OptionReply.Ack);
      case NbdOption.Info:
      case NbdOption.Go:
        return this.infoOrGo(data);
      case NbdOption.ListMetaContext:
      case NbdOption.SetMetaContext:
        return this.metaContexts(data);
      default:
        return this.refuse(OptionReply.Unsupported, `option ${this.option} is not supported`);
    }
  }

  private infoOrGo(data: Uint8Array): Outcome | undefined {
    const invalid = (): undefined => this.refuse(OptionReply.Invalid, 'the option is malformed');
    if (data.length < 6) return invalid();
    const view = viewOf(data);
    const nameBytes = view.getUint32(0);
    if (4 + nameBytes + 2 > data.length) return invalid();
    const requests = view.getUint16(4 + nameBytes);
    if (data.length !== 6 + nameBytes + 2 * requests) return invalid();
    const found = this.volumes.find(textOf(data.subarray(4, 4 + nameBytes)));
    if (isRefusal(found)) return this.refuse(found.isUnknown ? OptionReply.Unknown : OptionReply.Policy, found.reason);

    const wanted = new Set(Array.from({ length: requests }, (_, index) => view.getUint16(6 + nameBytes + 2 * index)));
    const info = new DataView(new ArrayBuffer(12));
    info.setUint16(0, InfoType.Export);
    info.setBigUint64(2, BigInt(found.sizeBytes));
    info.setUint16(10, transmissionFlags);
    this.reply(OptionReply.Info, new Uint8Array(info.buffer));
    if (wanted.has(InfoType.Name)) this.textInfo(InfoType.Name, found.name);
    if (wanted.has(InfoType.Description)) this.textInfo(InfoType.Description, found.description);
    // Told without being asked: who ignores it will see requests that are not whole sectors refused.
    const sizes = new DataView(new ArrayBuffer(14));
    sizes.setUint16(0, InfoType.BlockSize);
    sizes.setUint32(2, SECTOR);
    sizes.setUint32(6, PREFERRED);
    sizes.setUint32(10, REQUEST_BYTES_MAX);
    this.reply(OptionReply.Info, new Uint8Array(sizes.buffer));
    this.reply(OptionReply.Ack);
    return this.option === NbdOption.Go ? this.open(found) : undefined;
  }

  private open(where: Export): Outcome {
    const chosen = this.chosen?.name === where.name ? this.chosen.contexts : [];
    return { result: 'open', agreed: { where, structuredReplies: this.structuredReplies, contexts: chosen } };
  }

  private metaContexts(data: Uint8Array): undefined {
    const isList = this.option === NbdOption.ListMetaContext;
    // A choice that fails leaves none.
    if (!isList) this.chosen = undefined;
    const asked = readQueries(data);
    if (!asked) return this.refuse(OptionReply.Invalid, 'the option is malformed');
    if (!this.structuredReplies) return this.refuse(OptionReply.Invalid, 'metadata contexts need structured replies');
    const found = this.volumes.find(asked.name);
    if (isRefusal(found)) return this.refuse(found.isUnknown ? OptionReply.Unknown : OptionReply.Policy, found.reason);
    const ids = chosenBy(asked.queries, isList);
    if (!isList) this.chosen = { name: found.name, contexts: ids };
    for (const id of ids) {
      const head = new Uint8Array(4);
      // The number means something for a choice only.
      viewOf(head).setUint32(0, isList ? 0 : id);
      this.reply(OptionReply.MetaContext, head, encoder.encode(contexts.get(id)!));
    }
    return this.reply(OptionReply.Ack);
  }

  private textInfo(type: number, text: string): void {
    const head = new Uint8Array(2);
    viewOf(head).setUint16(0, type);
    this.reply(OptionReply.Info, head, encoder.encode(text));
  }

  private refuse(type: number, text: string): undefined {
    return this.reply(type, encoder.encode(text));
  }

  private reply(type: number, ...parts: Uint8Array[]): undefined {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const bytes = new Uint8Array(20 + length);
    const view = viewOf(bytes);
    view.setBigUint64(0, OPTION_REPLY_MAGIC);
    view.setUint32(8, this.option);
    view.setUint32(12, type);
    view.setUint32(16, length);
    let at = 20;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    this.send(bytes);
    return undefined;
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
