import type { Reader } from './reader.js';
import { numberFieldSize, type Writer } from './writer.js';

/** What opens every stream between two hosts. */
export interface Hello {
  readonly clusterId: number;
  readonly fromId: number;
  readonly toId: number;
  /** Grows with every start of the process. */
  readonly incarnation: number;
  readonly protocolVersion: number;
}

const clusterIdTag = (1 << 3) | 0;
const fromIdTag = (2 << 3) | 0;
const toIdTag = (3 << 3) | 0;
const incarnationTag = (4 << 3) | 0;
const protocolVersionTag = (5 << 3) | 0;

export function helloSize(hello: Hello): number {
  return (
    numberFieldSize(hello.clusterId) +
    numberFieldSize(hello.fromId) +
    numberFieldSize(hello.toId) +
    numberFieldSize(hello.incarnation) +
    numberFieldSize(hello.protocolVersion)
  );
}

export function writeHello(writer: Writer, hello: Hello): void {
  writer.numberField(clusterIdTag, hello.clusterId);
  writer.numberField(fromIdTag, hello.fromId);
  writer.numberField(toIdTag, hello.toId);
  writer.numberField(incarnationTag, hello.incarnation);
  writer.numberField(protocolVersionTag, hello.protocolVersion);
}

/** Reads a hello in a field of its own. */
export function readHello(reader: Reader): Hello {
  const outerEnd = reader.enter();
  let clusterId = 0;
  let fromId = 0;
  let toId = 0;
  let incarnation = 0;
  let protocolVersion = 0;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case clusterIdTag:
        clusterId = reader.varint();
        break;
      case fromIdTag:
        fromId = reader.varint();
        break;
      case toIdTag:
        toId = reader.varint();
        break;
      case incarnationTag:
        incarnation = reader.varint();
        break;
      case protocolVersionTag:
        protocolVersion = reader.uint32();
        break;
      default:
        reader.skip(tag);
    }
  }
  reader.leave(outerEnd);
  return { clusterId, fromId, toId, incarnation, protocolVersion };
}
