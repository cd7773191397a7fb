import { useEffect, useEffectEvent, useState } from "react";

import { LiveChannel, type ItemChanged } from "../api/live";
import type { Session } from "../session/session";

/** Whether changes arrive by themselves. With or without the channel, coming back to the tab fetches what is shown (queries.ts). */
export function useLive(session: Session, onChange: (change: ItemChanged | undefined) => void): boolean {
  const [connected, setConnected] = useState(false);
  const changed = useEffectEvent(onChange);

  useEffect(() => {
    const channel = new LiveChannel(() => session.accessToken(), {
      onChange: (change) => changed(change),
      onStatus: setConnected,
    });
    const stop = session.onRenewal(() => channel.renew());
    return () => {
      stop();
      channel.close();
    };
  }, [session]);

  return connected;
}
