import type { Runtime } from '../src/base/runtime.js';
import type { TcpStream } from '../src/transport/tcp_stream.js';
import { BatchStream, type BatchTarget } from './batch_stream.js';
import { clientStreamsMax } from './limits.js';

/** The clients that send the frames of Kv.Batch over TCP: each connection is one batch stream. */
export class ClientStreams {
  private readonly service: BatchTarget;
  private readonly runtime: Pick<Runtime, 'nextTurn'>;
  private readonly max: number;
  private readonly streams = new Map<TcpStream, BatchStream>();

  constructor(service: BatchTarget, runtime: Pick<Runtime, 'nextTurn'>, max = clientStreamsMax) {
    this.service = service;
    this.runtime = runtime;
    this.max = max;
  }

  accept(stream: TcpStream): void {
    if (this.streams.size >= this.max) {
      stream.destroy(`this store serves no more than ${this.max} clients at a time`);
      return;
    }
    const forget = (): void => void this.streams.delete(stream);
    const batch = new BatchStream(this.service, this.runtime, {
      write: (frame) => stream.write(frame),
      pause: () => stream.pause(),
      resume: () => stream.resume(),
      end: (problem) => {
        forget();
        if (problem === null) stream.end();
        else stream.destroy(problem);
      },
    });
    this.streams.set(stream, batch);
    stream.listen({
      frame: (bytes) => batch.frame(bytes),
      drained: () => batch.drained(),
      closed: () => {
        forget();
        batch.close();
      },
    });
  }

  /** Ends each once all that it asked for is answered: clients go to other stores at once. */
  close(): void {
    for (const batch of [...this.streams.values()]) batch.clientEnded();
  }
}
