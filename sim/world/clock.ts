/**
 * Virtual time: a heap of events, integer microseconds. Events at the same instant come in the order in which they were
 * scheduled. This is the hot loop of the simulator: a binary heap over flat arrays, no closures, no cancelling (an event
 * that is no longer wanted is recognised by whoever gets it).
 */

export class Clock<Event> {
  nowUs = 0;
  private times = new Float64Array(1024);
  private orders = new Float64Array(1024);
  private readonly events: Event[] = [];
  private scheduled = 0;

  get pending(): number {
    return this.events.length;
  }

  /** How many events there have been so far. */
  get popped(): number {
    return this.scheduled - this.events.length;
  }

  /** Time of the next event; Infinity when there is none. */
  get nextUs(): number {
    return this.events.length === 0 ? Infinity : this.times[0]!;
  }

  schedule(atUs: number, event: Event): void {
    if (!(atUs >= this.nowUs)) throw new Error(`an event for ${atUs} µs at ${this.nowUs} µs: time does not go back`);
    const { events } = this;
    let hole = events.length;
    if (hole === this.times.length) this.grow();
    const { times, orders } = this;
    const order = this.scheduled++;
    events.push(event);
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      // The new event has the highest order of all: it stays behind its equals.
      if (times[parent]! <= atUs) break;
      times[hole] = times[parent]!;
      orders[hole] = orders[parent]!;
      events[hole] = events[parent]!;
      hole = parent;
    }
    times[hole] = atUs;
    orders[hole] = order;
    events[hole] = event;
  }

  /** Takes the next event and moves the time to it. There must be one. */
  next(): Event {
    const { events, times, orders } = this;
    const event = events[0]!;
    this.nowUs = times[0]!;
    const last = events.length - 1;
    const moved = events.pop()!;
    if (last === 0) return event;
    const time = times[last]!;
    const order = orders[last]!;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= last) break;
      const right = child + 1;
      if (right < last && (times[right]! < times[child]! || (times[right] === times[child] && orders[right]! < orders[child]!))) {
        child = right;
      }
      const childTime = times[child]!;
      if (time < childTime || (time === childTime && order < orders[child]!)) break;
      times[hole] = childTime;
      orders[hole] = orders[child]!;
      events[hole] = events[child]!;
      hole = child;
    }
    times[hole] = time;
    orders[hole] = order;
    events[hole] = moved;
    return event;
  }

  private grow(): void {
    const times = new Float64Array(this.times.length * 2);
    times.set(this.times);
    this.times = times;
    const orders = new Float64Array(this.orders.length * 2);
    orders.set(this.orders);
    this.orders = orders;
  }
}
