import type {
  BootstrapResponse,
  GetShardByIdRequest,
  GetShardByIdResponse,
  RegisterStoreRequest,
  RegisterStoreResponse,
  StoreSessionRequest,
  StoreSessionResponse,
} from '../src/gen/skerry/v1/placement.js';

/**
 * How a store reaches placement members. Calls reject when the member cannot be reached or does not
 * answer in time; typed errors are in the responses.
 */
export interface PlacementConnector {
  bootstrap(address: string, timeoutMs: number): Promise<BootstrapResponse>;
  registerStore(address: string, request: RegisterStoreRequest, timeoutMs: number): Promise<RegisterStoreResponse>;
  getShardById(address: string, request: GetShardByIdRequest, timeoutMs: number): Promise<GetShardByIdResponse>;
  openSession(address: string, handlers: SessionHandlers): SessionLine;
  close(): void;
}

export interface SessionHandlers {
  frame(response: StoreSessionResponse): void;
  /** The line is gone; called once, also after close(). */
  closed(reason: string): void;
}

export interface SessionLine {
  send(request: StoreSessionRequest): void;
  close(): void;
}
