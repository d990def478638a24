# Report this guest's health, as facts to be compared with those of another moment.

$FirstAnyPort = 49152
$LastAnyPort = 65535
$CheckSeconds = 60
$MaxRoutes = 500
# What Windows is still putting in place during a boot after an update.
$Servicing = 'SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing'

function Invoke-Health([bool] $History) {
    $picture = Get-Picture
    $units = Get-Units $picture
    $listeners = (Get-Listeners $picture).rows
    $volumes = (Get-Volumes).rows
    $routes = (Get-Routes).rows
    $checks = Get-FailedChecks
    $complaints = (Get-Complaints $checks).lines
    $lately = @()
    if ($History) { $lately = (Get-FailedLately $picture).names }
    $places = New-Object System.Collections.ArrayList
    foreach ($row in $listeners) { [void]$places.Add("$($row[0]):$($row[1]):$($row[2])") }
    $mounts = New-Object System.Collections.ArrayList
    foreach ($row in $volumes) { [void]$mounts.Add($row[0]) }
    $files = New-Object System.Collections.ArrayList
    foreach ($service in $picture.services) { [void]$files.Add("$($service.Name).service") }
    $ports = Get-AnyPorts
    return @{ health = @{
        boot_id = (Get-BootId)
        kernel = (Get-KernelRelease)
        system_state = (Get-SystemState $picture)
        failed_units = $units.failed
        listeners = $places
        mounts = $mounts
        package_database_ok = ($complaints.Count -eq 0)
        reboot_required = (Test-RebootRequired)
        failed_checks = $checks
        details = @{
            uptime = $picture.uptime
            units = $units.units
            unit_files = $files
            listeners = $listeners
            any_ports = [object[]]@($ports.low, $ports.high)
            mounts = $volumes
            routes = $routes
            complaints = $complaints
            failed_lately = $lately
            boots = @()
        }
    } }
}

# Return "starting" while Windows starts its services, or still puts an update in place; else "running".
function Get-SystemState($Picture) {
    if (Test-RegistryKey "$Servicing\RebootInProgress") { return 'starting' }
    if ($Picture.uptime -ge $AtOnceSeconds) { return 'running' }
    foreach ($service in $Picture.services) {
        $isLate = $service.DelayedAutoStart -or (Test-Triggers $service.Name)
        $isToCome = $service.State -eq 'Stopped' -and [long]$service.ExitCode -eq $NeverStarted
        if ($service.StartMode -eq 'Auto' -and $isToCome -and -not $isLate) { return 'starting' }
    }
    return 'running'
}

# Return what listens: protocol, address, port, and who that is.
function Get-Listeners($Picture) {
    $owners = Get-Owners $Picture
    $rows = New-Object System.Collections.ArrayList
    $seen = @{}
    # An error is no answer: something always listens.
    $sockets = @{ tcp = @(Get-NetTCPConnection -State Listen); udp = @(Get-NetUDPEndpoint) }
    foreach ($protocol in 'tcp', 'udp') {
        foreach ($socket in $sockets[$protocol]) {
            $address = ([string]$socket.LocalAddress) -replace '%.*$', ''
            $owner = Get-Owner ([long]$socket.OwningProcess) $Picture $owners
            $key = "$protocol $address $($socket.LocalPort) $($owner.unit) $($owner.program)"
            if ($seen.ContainsKey($key) -or $rows.Count -ge $MaxItems) { continue }
            $seen[$key] = $true
            [void]$rows.Add([object[]]@(
                $protocol, $address, [long]$socket.LocalPort, $owner.unit, $owner.program))
        }
    }
    return @{ rows = $rows }
}

# Return the names of the services of each process.
function Get-Owners($Picture) {
    $owners = @{}
    foreach ($service in $Picture.services) {
        if ($service.ProcessId -gt 0) { $owners[[long]$service.ProcessId] += @($service.Name) }
    }
    return $owners
}

# Return the service and the program of a process: the service may be that of a process which started it.
function Get-Owner([long] $Id, $Picture, $Owners) {
    $process = $Picture.processes[$Id]
    $owner = @{ unit = ''; program = '' }
    if ($null -eq $process) { return $owner }
    $owner.program = [string]$process.Name
    if ([long]$process.SessionId -gt 0) {
        # Somebody who is logged on has started it, and it ends with the login.
        $owner.unit = "session-$($process.SessionId)"
        return $owner
    }
    for ($depth = 0; $depth -lt 8 -and $null -ne $process; $depth++) {
        $names = @($Owners[[long]$process.ProcessId] | Where-Object { $_ } | Sort-Object)
        if ($names.Count -eq 1) { $owner.unit = "$($names[0]).service" }
        # Of several services in one process nobody can say whose socket it is.
        if ($names.Count -gt 1) { $owner.program += " of $($names -join ', ')" }
        if ($names.Count -gt 0) { return $owner }
        $parent = $Picture.processes[[long]$process.ParentProcessId]
        # The number of a parent that has ended may be another's by now.
        if ($null -ne $parent -and $parent.CreationDate -gt $process.CreationDate) { $parent = $null }
        $process = $parent
    }
    return $owner
}

# Return the range of ports that Windows gives to whoever asks for any.
function Get-AnyPorts {
    $ports = @{ low = [long]$FirstAnyPort; high = [long]$LastAnyPort }
    $set = @(Get-NetTCPSetting -ErrorAction SilentlyContinue | Where-Object { $_.DynamicPortRangeNumberOfPorts -gt 0 })
    if ($set.Count -gt 0) {
        $ports.low = [long]$set[0].DynamicPortRangeStartPort
        $ports.high = $ports.low + [long]$set[0].DynamicPortRangeNumberOfPorts - 1
    }
    return $ports
}

# Return which networks this guest reaches: default routes, what its cards are in, and each card; no rows where
# they are too many, as a router has its routes from others.
function Get-Routes {
    $rows = New-Object System.Collections.ArrayList
    $seen = @{}
    $cards = @{}
    foreach ($card in @(Get-NetAdapter)) {
        $kind = 'tunnel'
        # As the IANA numbers kinds of interfaces: Ethernet.
        if ($card.InterfaceType -eq 6) { $kind = 'ethernet' }
        if ($card.HardwareInterface) { $kind = 'card' }
        # 0 is unknown, 1 connected and 2 disconnected.
        $isLinked = $card.MediaConnectState -ne 2
        $cards[[long]$card.InterfaceIndex] = @{ name = [string]$card.Name; kind = $kind; linked = $isLinked }
        if ($kind -eq 'card') { [void]$rows.Add([object[]]@('', '', [string]$card.Name, $kind, $isLinked)) }
    }
    # An error is no answer: the loopback always has routes.
    foreach ($route in @(Get-NetRoute -PolicyStore ActiveStore)) {
        $network = [string]$route.DestinationPrefix
        $family = 'ipv4'
        if ($network -like '*:*') { $family = 'ipv6' }
        $card = $cards[[long]$route.InterfaceIndex]
        if ($null -eq $card) {
            $card = @{ name = [string]$route.InterfaceAlias; kind = 'tunnel'; linked = $true }
        }
        if ($network -eq '0.0.0.0/0' -or $network -eq '::/0') {
            $network = 'default'
        } elseif ($card.kind -ne 'card' -or -not (Test-OwnNetwork $network ([string]$route.NextHop))) {
            continue
        }
        $key = "$family $network $($card.name)"
        if ($seen.ContainsKey($key)) { continue }
        $seen[$key] = $true
        [void]$rows.Add([object[]]@($family, $network, $card.name, $card.kind, $card.linked))
    }
    if ($rows.Count -gt $MaxRoutes) { return @{ rows = $null } }
    return @{ rows = $rows }
}

# Return whether a card is in a network itself: without a router between, and neither one address alone, nor
# link-local, nor for many.
function Test-OwnNetwork([string] $Network, [string] $NextHop) {
    if ($NextHop -ne '0.0.0.0' -and $NextHop -ne '::') { return $false }
    return $Network -notmatch '^(169\.254\.|127\.|22[4-9]\.|23[0-9]\.|fe[89ab]|ff)|:.*/128$|\..*/32$'
}

# Return the fixed volumes that have a place; those of clusters go from node to node.
function Get-Volumes {
    $rows = New-Object System.Collections.ArrayList
    foreach ($volume in Get-CimInstance -ClassName Win32_Volume -Filter 'DriveType=3') {
        $place = [string]$volume.Name
        if ($place -like '\\*' -or $volume.FileSystem -like 'CSVFS*') { continue }
        $isReadOnly = [long]$volume.Access -eq 1
        [void]$rows.Add([object[]]@($place, [string]$volume.FileSystem, $isReadOnly, 'volume', ''))
    }
    return @{ rows = $rows }
}

# Return the checks of this guest's administrators that fail, and what each printed.
function Get-FailedChecks {
    $failed = @{}
    foreach ($kind in @(@('required.d', ''), @('wanted.d', 'wanted: '))) {
        $folder = Join-Path (Join-Path $Base 'health') $kind[0]
        if (-not [System.IO.Directory]::Exists($folder)) { continue }
        foreach ($file in @(Get-ChildItem -LiteralPath $folder -File | Sort-Object Name)) {
            $words = Test-Check $file.FullName
            if ($words) { $failed[$kind[1] + $file.Name] = $words }
        }
    }
    return $failed
}

# Run one check; returns nothing where all is well.
function Test-Check([string] $Path) {
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = $Path
    if ($Path -like '*.ps1') {
        $start.FileName = $PowerShellPath
        $start.Arguments = "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$Path`""
    } elseif ($Path -notlike '*.exe') {
        return ''
    }
    $start.UseShellExecute = $false
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardInput = $true
    try { $process = [System.Diagnostics.Process]::Start($start) } catch { return Get-Cause $_ }
    $process.StandardInput.Close()
    $output = $process.StandardOutput.ReadToEndAsync()
    if (-not $process.WaitForExit($CheckSeconds * 1000)) {
        $process.Kill()
        return "it did not end within $CheckSeconds seconds"
    }
    if ($process.ExitCode -eq 0) { return '' }
    $words = ''
    if ($output.Wait(1000)) { $words = $output.Result.Trim() }
    if ($words) { return Limit-Text $words 1000 }
    return "exit code $($process.ExitCode)"
}

# Return what Windows has taken back of the last update while it rebooted. The installation succeeds before a
# reboot that puts it in place; the history of updates tells how that went.
function Get-Complaints($Checks) {
    $lines = New-Object System.Collections.ArrayList
    $last = Get-LastInstalled
    if ($last.ids.Count -eq 0) { return @{ lines = $lines } }
    try {
        $searcher = (New-Object -ComObject Microsoft.Update.Session).CreateUpdateSearcher()
        $count = [math]::Min(100, $searcher.GetTotalHistoryCount())
        if ($count -eq 0) { return @{ lines = $lines } }
        $seen = @{}
        # The newest come first.
        foreach ($entry in $searcher.QueryHistory(0, $count)) {
            $id = [string]$entry.UpdateIdentity.UpdateID
            if ($seen.ContainsKey($id) -or $last.ids -notcontains $id) { continue }
            $seen[$id] = $true
            if ((Get-UnixTime ([datetime]::SpecifyKind($entry.Date, 'Utc'))) -lt $last.at) { continue }
            if ($entry.Operation -eq 1 -and $entry.ResultCode -ge 4) {
                $words = "Windows has taken back $($entry.Title): $(Get-Meaning $entry.HResult)"
                [void]$lines.Add((Limit-Text $words $MaxName))
            }
        }
    } catch {
        $Checks['wanted: windows-update-history'] = "The history of updates cannot be read: $(Get-Cause $_)"
    }
    return @{ lines = $lines }
}

# Return what the last update has installed, and when it was begun.
function Get-LastInstalled {
    $last = @{ ids = @(); at = [long]0 }
    foreach ($one in Get-ChildItem -LiteralPath $Runs -Directory) {
        $folder = Join-Path $one.FullName 'update'
        $request = Get-Request $folder
        if ($null -eq $request -or [long]$request.at -le $last.at) { continue }
        $last.at = [long]$request.at
        $last.ids = @()
        foreach ($told in (Read-Events $folder 0 ([int]::MaxValue)).events) {
            if ($null -ne $told.installed) { $last.ids = @($told.installed) }
        }
    }
    return $last
}

# Answer what only a reboot changes. Windows replaces what is in use with its next reboot, so nothing else of
# an update waits for a restart.
function Invoke-Effect {
    $why = ''
    if (Test-RebootRequired) { $why = 'Windows has installed what it puts in place while it reboots' }
    return @{ reboot = $why; stale = @() }
}
