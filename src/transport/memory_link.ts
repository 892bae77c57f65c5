import type { Runtime } from '../base/runtime.js';
import { decodeEnvelope, encodeEnvelope } from '../wire/raft_codec.js';
import type { MemoryStream, Packet, PacketLink } from './memory_stream.js';

/** How one direction between two hosts behaves. Rates are probabilities per frame of envelopes. */
export interface LinkPolicy {
  readonly delayMinMs: number;
  readonly delayMaxMs: number;
  readonly dropRate: number;
  /** Raft messages and beats come twice; forwarded requests never do. */
  readonly duplicateRate: number;
  /** A frame is overtaken by those behind it. */
  readonly reorderRate: number;
}

/** A fast link without faults. */
export const calmLink: LinkPolicy = Object.freeze({
  delayMinMs: 0.1,
  delayMaxMs: 0.5,
  dropRate: 0,
  duplicateRate: 0,
  reorderRate: 0,
});

/** Delays of the policy by which a frame is late when others are to overtake it. */
const reorderDelays = 4;

/** What a link asks of the network around it. */
export interface LinkWorld {
  readonly runtime: Runtime;
  /** True while nothing passes in this direction. */
  isCut(): boolean;
  policy(): LinkPolicy;
}

/**
 * One direction of one stream. Packets keep their order unless the policy reorders them; while the direction is
 * cut they wait, as TCP would keep and repeat them, and go on when it heals. Faults never touch the first frame
 * (the hello) nor anything but frames: real streams do not lose those either without breaking.
 */
export class MemoryLink implements PacketLink {
  private readonly world: LinkWorld;
  /** Snapshot streams break or hold; they do not lose frames in the middle. */
  private readonly faulty: boolean;
  private readonly queue: Packet[] = [];
  /** Packets whose time has come while the direction was cut. */
  private overdue = 0;
  private frames = 0;
  private from: MemoryStream | null = null;
  private deliver: (packet: Packet) => void = () => undefined;

  constructor(world: LinkWorld, faulty: boolean) {
    this.world = world;
    this.faulty = faulty;
  }

  /** Joins the two ends: who is told that its bytes arrived, and who gets them. */
  join(from: MemoryStream, deliver: (packet: Packet) => void): void {
    this.from = from;
    this.deliver = deliver;
  }

  send(packet: Packet): void {
    if (packet.kind === 'frame' && this.faulty && this.frames++ > 0) this.sendFaulty(packet);
    else this.enqueue(packet);
  }

  /** The direction carries again. */
  heal(): void {
    const { overdue } = this;
    this.overdue = 0;
    for (let i = 0; i < overdue; i++) this.schedule();
  }

  private sendFaulty(packet: Extract<Packet, { kind: 'frame' }>): void {
    const { runtime } = this.world;
    const policy = this.world.policy();
    if (runtime.random() < policy.dropRate) {
      runtime.after(policy.delayMaxMs, () => this.from?.taken(packet.bytes.length));
      return;
    }
    if (runtime.random() < policy.reorderRate) {
      runtime.after(policy.delayMaxMs * (1 + runtime.random() * reorderDelays), () => {
        if (this.world.isCut()) this.enqueue(packet);
        else this.arrive(packet);
      });
    } else {
      this.enqueue(packet);
    }
    if (runtime.random() < policy.duplicateRate) this.duplicate(packet.bytes);
  }

  private duplicate(frame: Buffer): void {
    const { messages, beat } = decodeEnvelope(frame);
    if (messages.length === 0 && beat === null) return;
    const bytes = encodeEnvelope({
      hello: null,
      messages,
      beat,
      forwards: [],
      forwardResponses: [],
      snapshotOffers: [],
      gone: [],
    });
    const { delayMaxMs } = this.world.policy();
    this.world.runtime.after(delayMaxMs * (1 + this.world.runtime.random() * reorderDelays), () => {
      if (!this.world.isCut()) this.deliver({ kind: 'frame', bytes });
    });
  }

  private enqueue(packet: Packet): void {
    this.queue.push(packet);
    this.schedule();
  }

  private schedule(): void {
    const { delayMinMs, delayMaxMs } = this.world.policy();
    const delayMs = delayMinMs + (delayMaxMs - delayMinMs) * this.world.runtime.random();
    this.world.runtime.after(delayMs, () => {
      if (this.world.isCut()) {
        this.overdue++;
        return;
      }
      const packet = this.queue.shift();
      if (packet !== undefined) this.arrive(packet);
    });
  }

  private arrive(packet: Packet): void {
    this.deliver(packet);
    if (packet.kind === 'frame') this.from?.taken(packet.bytes.length);
  }
}
