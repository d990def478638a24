# What this guest is, who is logged on, its clock and its power.

function Invoke-Hello {
    $system = Get-CimInstance -ClassName Win32_OperatingSystem
    return @{
        protocol = 1
        agent_version = $KitVersion
        boot_id = (Get-BootId)
        plugin_name = $KitName
        os_name = (Limit-Text ($system.Caption.Trim()) $MaxName)
        channels = 0
        tasks = (Get-Tasks).tasks
        knows = @('facts', 'sessions', 'time', 'scan', 'prepare', 'evidence', 'effect')
        task_agent = $false
        # It puts updates in place while it goes down and comes up.
        away_seconds = 1800
        limits = @(
            'Updates of Windows guests are untried on Windows: look at what is reported, and tell what went wrong.'
            'How long its services usually take after a boot is not learnt.'
            'Which programs still run replaced files cannot be told: Windows replaces those with its next reboot.'
        )
    }
}

# Return the number of the release, with that of the last cumulative update.
function Get-KernelRelease {
    $version = 'SOFTWARE\Microsoft\Windows NT\CurrentVersion'
    $major = Get-RegistryValue $version 'CurrentMajorVersionNumber'
    $minor = Get-RegistryValue $version 'CurrentMinorVersionNumber'
    $build = Get-RegistryValue $version 'CurrentBuildNumber'
    $revision = Get-RegistryValue $version 'UBR'
    return "$major.$minor.$build.$revision"
}

function Invoke-Facts {
    $system = Get-CimInstance -ClassName Win32_OperatingSystem
    $variant = 'server'
    if ($system.ProductType -eq 1) { $variant = 'client' }
    $version = [string](Get-RegistryValue 'SOFTWARE\Microsoft\Windows NT\CurrentVersion' 'DisplayVersion')
    return @{ facts = @{
        computer_name = [Environment]::MachineName
        os_id = 'mswindows'
        os_name = (Limit-Text ($system.Caption.Trim()) 200)
        version = $version
        version_id = [string]$system.BuildNumber
        variant = $variant
        kernel_release = (Get-KernelRelease)
        kernel_version = [string]$system.Version
        architecture = (Get-Architecture)
    } }
}

function Get-Architecture {
    switch ($env:PROCESSOR_ARCHITECTURE) {
        'AMD64' { return 'x86_64' }
        'ARM64' { return 'aarch64' }
        default { return 'x86' }
    }
}

# Answer who has a desktop.
function Invoke-Sessions {
    $sessions = New-Object System.Collections.ArrayList
    $processes = @(Get-CimInstance -ClassName Win32_Process -Filter "Name='explorer.exe' OR Name='LogonUI.exe'")
    $locked = @($processes | Where-Object { $_.Name -eq 'LogonUI.exe' } | ForEach-Object { $_.SessionId })
    $seen = @{}
    foreach ($process in @($processes | Where-Object { $_.Name -eq 'explorer.exe' } | Sort-Object CreationDate)) {
        if ($seen.ContainsKey($process.SessionId) -or $sessions.Count -ge 64) { continue }
        $seen[$process.SessionId] = $true
        $owner = Invoke-CimMethod -InputObject $process -MethodName GetOwner -ErrorAction SilentlyContinue
        if ($null -eq $owner -or -not $owner.User) { continue }
        [void]$sessions.Add(@{
            user = (Limit-Text $owner.User 100); since = (Get-UnixTime $process.CreationDate)
            locked = ($locked -contains $process.SessionId); remote = $null
        })
    }
    return @{ sessions = $sessions }
}

function Invoke-SetTime([string] $Seconds) {
    $since = [double]::Parse($Seconds, [System.Globalization.CultureInfo]::InvariantCulture)
    $epoch = New-Object datetime(1970, 1, 1, 0, 0, 0, [System.DateTimeKind]::Utc)
    $now = $epoch.AddSeconds($since).ToLocalTime()
    [void](Set-Date -Date $now)
    return @{}
}

# Go down in a moment, so that the answer is on its way. "/f": nobody is there to answer a program's question.
function Stop-Guest([string] $How) {
    $program = Join-Path ([Environment]::SystemDirectory) 'shutdown.exe'
    $ended = Start-Process -FilePath $program -ArgumentList $How, '/t', '3', '/f' -WindowStyle Hidden -Wait -PassThru
    # It goes down already (1115), or is about to (1190).
    if (0, 1115, 1190 -notcontains $ended.ExitCode) {
        Stop-With "Windows does not go down: $(Get-Win32Message $ended.ExitCode) (exit code $($ended.ExitCode))."
    }
    return @{}
}
