// Two stations and the wires between them: latency, chunks, refused and crossing connects, closes, resets, a machine that
// restarts and whose peer hears nothing of it. Everything follows from the seed.

import { startConnecting, startConnectingAfterPause, stopConnecting } from '../../src/connection/establish.js';
import { startKeepalive } from '../../src/connection/keepalive.js';
import { connectionTimer } from '../../src/connection/timers.js';
import type { StreamInput } from '../../src/connection/receive.js';
import { sendPacket } from '../../src/connection/send.js';
import type { Output } from '../../src/contract/output.js';
import type { Signal } from '../../src/model/signals.js';
import { earliestDeadline, takeDueTimer } from '../../src/model/timers.js';
import { input, newStation, pass, seededRandom } from './station.js';
import type { Station, StationOptions } from './station.js';

interface Wire {
  /** Stream ids at both ends; undefined where the end is gone or does not know it yet. */
  ends: [number | undefined, number | undefined];
  /** Nothing overtakes: when the last thing in each direction arrives. */
  lastAtUs: [number, number];
}

export interface Network {
  stations: [Station, Station];
  nowUs: number;
  isReady: [boolean, boolean];
  isStandAlone: [boolean, boolean];
  /** Losses and refusals, as text. */
  story: string[];
  steps: number;
  /** Connect attempts of both; two are needed. */
  attempts: number;
  step(): boolean;
  resetWires(which: 'all' | number): void;
  restart(host: 0 | 1): void;
  /** Both ends of the same wires are data and meta of both, and one of the two resolves conflicts. */
  isPaired(): boolean;
}

export function newNetwork(seed: number, options: [StationOptions, StationOptions] = [{}, {}]): Network {
  const draw = seededRandom(seed);
  const below = (limit: number): number => Number(draw() % BigInt(limit));
  const events: { atUs: number; order: number; run: () => void }[] = [];
  let order = 0;
  const at = (atUs: number, run: () => void): void => {
    events.push({ atUs, order: order++, run });
  };
  let wires: Wire[] = [];
  const listening: [boolean, boolean] = [false, false];
  const sentTotals = new Map<string, number>();
  let lastAccepted = 0;
  const latencyUs = 20 + below(50_000);
  const isChopped = below(2) === 0;

  const network: Network = {
    stations: [
      newStation({ random64: seededRandom(seed * 2 + 7), ...options[0] }),
      newStation({ random64: seededRandom(seed * 2 + 8), ...options[1] }),
    ],
    nowUs: 0,
    isReady: [false, false],
    isStandAlone: [false, false],
    story: [],
    steps: 0,
    attempts: 0,
    step,
    resetWires,
    restart,
    isPaired,
  };

  const hosts = [0, 1] as const;
  const otherOf = (host: 0 | 1): 0 | 1 => (host === 0 ? 1 : 0);
  const wireOf = (host: 0 | 1, stream: number): Wire | undefined => wires.find((wire) => wire.ends[host] === stream);

  /** Hands something to the host at the end of the wire, behind what is already on its way there. */
  function arrive(wire: Wire, host: 0 | 1, value: (stream: number) => StreamInput, isLast = false): void {
    const atUs = Math.max(network.nowUs + latencyUs + below(100), wire.lastAtUs[host] + below(2));
    wire.lastAtUs[host] = atUs;
    at(atUs, () => {
      const stream = wire.ends[host];
      if (stream === undefined) return;
      if (isLast) wire.ends[host] = undefined;
      perform(host, input(network.stations[host], network.nowUs, value(stream)));
    });
  }

  function perform(host: 0 | 1, outputs: Output[]): void {
    const other = otherOf(host);
    for (const output of outputs) {
      switch (output.type) {
        case 'listen':
          listening[host] = true;
          break;
        case 'stop-listening':
          listening[host] = false;
          break;
        case 'connect': {
          const wire: Wire = { ends: [undefined, undefined], lastAtUs: [0, 0] };
          wire.ends[host] = output.stream;
          wires.push(wire);
          network.attempts++;
          at(network.nowUs + latencyUs, () => {
            if (wire.ends[host] === undefined) return;
            if (!listening[other]) {
              arrive(wire, host, (stream) => ({ type: 'connect-refused', stream }), true);
              return;
            }
            wire.ends[other] = --lastAccepted;
            arrive(wire, host, (stream) => ({ type: 'stream-connected', stream }));
            const accepted: StreamInput = { type: 'stream-accepted', resource: 'r0', peer: 'peer', stream: lastAccepted };
            perform(other, input(network.stations[other], network.nowUs, accepted));
          });
          break;
        }
        case 'close': {
          const wire = wireOf(host, output.stream);
          if (wire === undefined) break;
          wire.ends[host] = undefined;
          arrive(wire, other, (stream) => ({ type: 'stream-closed', stream, how: 'closed' }), true);
          break;
        }
        case 'send': {
          const bytes = Uint8Array.from(output.pieces.flatMap((piece) => [...piece]));
          const wire = wireOf(host, output.stream);
          if (wire === undefined) break;
          const key = `${host}/${output.stream}`;
          const bytesTotal = (sentTotals.get(key) ?? 0) + bytes.length;
          sentTotals.set(key, bytesTotal);
          at(network.nowUs, () => {
            if (wire.ends[host] !== output.stream) return;
            perform(host, input(network.stations[host], network.nowUs, { type: 'stream-sent', stream: output.stream, bytesTotal }));
          });
          for (let start = 0; start < bytes.length; ) {
            const length = isChopped ? 1 + below(40) : bytes.length;
            const chunk = bytes.slice(start, start + length);
            arrive(wire, other, (stream) => ({ type: 'stream-received', stream, bytes: chunk }));
            start += length;
          }
          break;
        }
        case 'read-stream':
          break;
        default:
          throw new Error(`the connection room put out ${output.type}`);
      }
    }
  }

  function onSignal(host: 0 | 1, signal: Signal): void {
    const { core, connection } = network.stations[host];
    switch (signal.signal) {
      case 'streams-ready':
        network.isReady[host] = true;
        startKeepalive(core, connection);
        sendPacket(core, connection, { packet: 'P_STATE', volume: 0, state: 0x8000 + host });
        break;
      case 'connection-lost': {
        network.story.push(`${host} lost: ${signal.reason}: ${signal.detail}`);
        stopConnecting(core, connection);
        if (network.isReady[host]) startConnecting(core, connection);
        else startConnectingAfterPause(core, connection);
        network.isReady[host] = false;
        break;
      }
      case 'connection-refused':
        network.story.push(`${host} refused: ${signal.detail}`);
        stopConnecting(core, connection);
        network.isReady[host] = false;
        network.isStandAlone[host] = true;
        break;
      default:
    }
  }

  /** The next thing that happens; false when nothing will. */
  function step(): boolean {
    const deadlines = hosts.map((host) => earliestDeadline(network.stations[host].core) ?? Infinity);
    let next = 0;
    for (let index = 1; index < events.length; index++) {
      const a = events[index]!;
      const b = events[next]!;
      if (a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order)) next = index;
    }
    const eventAtUs = events[next]?.atUs ?? Infinity;
    const host = deadlines[0]! <= deadlines[1]! ? 0 : 1;
    const atUs = Math.min(eventAtUs, deadlines[host]!);
    if (atUs === Infinity) return false;
    network.nowUs = Math.max(network.nowUs, atUs);
    network.steps++;
    if (eventAtUs <= deadlines[host]!) {
      events.splice(next, 1)[0]!.run();
      return true;
    }
    const station = network.stations[host];
    const outputs = pass(station, network.nowUs, () => {
      const timer = takeDueTimer(station.core);
      if (timer !== undefined) connectionTimer(station.core, timer);
    });
    perform(host, outputs);
    return true;
  }

  function resetWires(which: 'all' | number): void {
    const hit = which === 'all' ? wires.slice() : wires.slice().reverse().slice(which, which + 1);
    for (const wire of hit) {
      wires.splice(wires.indexOf(wire), 1);
      for (const host of hosts) {
        const stream = wire.ends[host];
        wire.ends[host] = undefined;
        if (stream === undefined) continue;
        const isAttempt = network.stations[host].connection.session.attempt === stream;
        const value: StreamInput = isAttempt
          ? { type: 'connect-failed', stream, reason: 'reset' }
          : { type: 'stream-closed', stream, how: 'reset' };
        perform(host, input(network.stations[host], network.nowUs, value));
      }
    }
  }

  /** The machine forgets everything and comes back; its peer hears nothing of that until it sends something. */
  function restart(host: 0 | 1): void {
    listening[host] = false;
    for (const wire of wires) {
      if (wire.ends[host] === undefined) continue;
      wire.ends[host] = undefined;
    }
    network.isReady[host] = false;
    network.stations[host] = newStation({ random64: seededRandom((seed + 1000) * 10_000 + network.steps * 2 + host), ...options[host] });
    begin(host);
  }

  const hasBegun = [false, false];
  function begin(host: 0 | 1): void {
    hasBegun[host] = true;
    const station = network.stations[host];
    // Streams of a machine that restarted are numbered on, so that the two lives are not mixed up here.
    station.core.state.lastStream = network.steps * 1000;
    station.onSignal = (signal) => onSignal(host, signal);
    perform(host, pass(station, network.nowUs, () => startConnecting(station.core, station.connection)));
  }

  function isPaired(): boolean {
    if (!network.isReady[0] || !network.isReady[1]) return false;
    wires = wires.filter((wire) => wire.ends[0] !== undefined || wire.ends[1] !== undefined);
    const [a, b] = network.stations.map((station) => station.connection) as [Station['connection'], Station['connection']];
    return (['data', 'meta'] as const).every((kind) => {
      const id = a.session[kind]?.id;
      return id !== undefined && wireOf(0, id)?.ends[1] === b.session[kind]?.id;
    });
  }

  begin(0);
  const delayUs = below(3) === 0 ? 0 : below(3_000_000);
  if (delayUs === 0) begin(1);
  else {
    at(delayUs, () => {
      if (!hasBegun[1]) begin(1);
    });
  }
  return network;
}
